"""`headrace init`: looks at a data file and writes a `headrace.toml` that fits it, with the reasons as comments."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.errors import SpecError
from headrace.pipeline.spec import FILE_NAME, valid_name
from headrace.project.writing import write_whole
from headrace.scaffold.expectations import suggest_for_frame
from headrace.scaffold.reading import read_table
from headrace.scaffold.sketch import Sketch, sketch, time_config
from headrace.scaffold.toml_text import assignment, comment, toml_string

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.types import Task

EXPECTATIONS: Final = "expectations.toml"
_SHOWN_COLUMNS: Final = 40
_NEAR: Final = 2
_FEW: Final = 1_000


@dataclass(frozen=True)
class Scaffolded:
    """What `init` wrote, and what it saw."""

    directory: Path
    files: tuple[Path, ...]
    name: str
    sketch: Sketch


def init_project(
    directory: Path,
    *,
    data: str,
    target: str,
    task: Task | None = None,
    name: str | None = None,
    time_column: str | None = None,
    overrides: Sequence[str] = (),
    force: bool = False,
) -> Scaffolded:
    """Look at `data` and write a project for predicting its column `target`.

    Parameters
    ----------
    directory
        The project's folder; made if it is not there.
    data
        A Parquet, Arrow IPC, CSV or NDJSON file, or a glob of such; relative to the working directory.
    target, task, time_column
        The column to predict; what kind of prediction it is and which column says when a row happened, where the data
        is not to be asked.
    name
        The project's name; default: the folder's, with what is not allowed replaced.
    overrides
        `ingest.KEY=VALUE` strings: how the data is to be read; written into the spec as well.
    force
        Write over files that are there.

    Raises
    ------
    SpecError
        A name or an override is not allowed, a column does not exist, or a file that would be written is there
        already.
    DataError
        The data cannot be read, or cannot be learnt from: no rows, a target without values or with only one.
    StoreError
        The folder cannot be written.

    """
    directory = Path(directory)
    chosen = _name(directory, name)
    _refuse_to_overwrite(directory, force=force)
    table = read_table(data, overrides)
    seen = sketch(table.frame, target, task=task, time_column=time_column, place=data, rows=table.rows)
    expectations = suggest_for_frame(table.frame)
    text = spec_text(seen, name=chosen, path=_written_path(data, directory), shown=data, reading=table.reading)
    _make(directory)
    written = [directory / EXPECTATIONS, directory / FILE_NAME]
    write_whole(written[0], expectations.encode())
    write_whole(written[1], text.encode())  # last, so that a project is there only when all of it is
    return Scaffolded(directory, tuple(written), chosen, seen)


# --- names and paths --------------------------------------------------------------------------------------------------


def _name(directory: Path, name: str | None) -> str:
    if name is not None:
        if valid_name(name):
            return name
        raise SpecError(
            f"the project name {name!r} is not allowed",
            place="--name",
            hint="Use lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        )
    made = re.sub(r"[^a-z0-9._-]+", "-", directory.resolve().name.lower()).strip("._-")[:100]
    return made or "project"


def _refuse_to_overwrite(directory: Path, *, force: bool) -> None:
    if directory.exists() and not directory.is_dir():
        raise SpecError("this is a file, and must be a folder", place=str(directory), hint="Name another one.")
    for name in (FILE_NAME, EXPECTATIONS):
        if (directory / name).exists() and not force:
            raise SpecError(
                "it is there already",
                place=str(directory / name),
                hint="Use --force to write over it, or another folder.",
            )


def _make(directory: Path) -> None:
    from headrace.errors import StoreError

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder cannot be made: {error.strerror}",
            place=str(directory),
            hint="Choose one that you may write to.",
        ) from error


def _written_path(data: str, directory: Path) -> str:
    """How the spec names the data: relative to the project if it is near, so that both can be moved together."""
    relative = os.path.relpath(data, directory)
    climbs = Path(relative).parts.count(os.pardir)
    return Path(relative).as_posix() if climbs <= _NEAR else str(Path(data).resolve())


# --- the text ---------------------------------------------------------------------------------------------------------


def spec_text(seen: Sketch, *, name: str, path: str, shown: str, reading: Mapping[str, Any] | None = None) -> str:
    """The `headrace.toml` for what was seen; `path` is where the data is, `shown` how a person calls it.

    `reading` are further keys of [ingest].
    """
    parts = [
        comment(
            f"Written by `headrace init` after a look at {shown}: {seen.rows:,} rows, {len(seen.types):,} columns.\n"
            "It runs as it is: `headrace run`. All of it may be changed; `headrace plugins list` shows what else there "
            "is, and `headrace plugins show KIND:NAME` every key of a stage with its meaning and default."
        ),
        "\n".join(_project(seen, name)),
        "\n".join(_ingest(path, reading or {})),
        "\n".join(_validate()),
        "\n".join(_split(seen)),
        "\n".join(_features(seen)),
        "\n".join(_train(seen)),
        "\n".join(_judge(seen)),
        "\n".join(_keep()),
    ]
    return "\n\n".join(parts) + "\n"


def _project(seen: Sketch, name: str) -> Iterator[str]:
    yield "[project]"
    yield assignment("name", name)
    yield comment(f"What is to be predicted. {_target_words(seen)}")
    yield assignment("target", seen.target)
    if seen.unlabelled:
        yield comment(
            f"{seen.unlabelled:,} of {seen.looked_at:,} rows have no {_shown(seen.target)}: nothing is learnt from "
            "them, and nothing is measured on them."
        )
    yield comment(_task_words(seen))
    yield assignment("task", seen.task)
    if seen.time_column is not None:
        others = f" Other columns with dates: {', '.join(map(_shown, seen.other_times))}." if seen.other_times else ""
        yield comment(f"When a row happened.{others}")
        yield assignment("time_column", seen.time_column)
    if seen.id_columns:
        yield comment(
            "Columns that name a row or a thing, and would be learnt by heart: not features. Take one out of the list "
            "to use it."
        )
        yield assignment("id_columns", list(seen.id_columns))
    yield comment("Everything that is drawn by chance follows from this number: the same again gives the same again.")
    yield assignment("seed", 0)


def _target_words(seen: Sketch) -> str:
    kind = seen.types[seen.target]
    if seen.task == "regression":
        low, middle, high = seen.spread
        return f"Its values ({kind}) go from {low:g} to {high:g}, half of them up to {middle:g}."
    shown = ", ".join(f"{_shown(label)} {count / seen.known:.1%}" for label, count in seen.labels[:8])
    more = f", and {seen.classes - 8} more" if seen.classes > 8 else ""
    words = f"It has {seen.classes} values ({kind}): {shown}{more}."
    if seen.task == "binary" and seen.rarest < 0.05 * seen.known:
        words += (
            " That is uneven: accuracy says little here, look at average precision and log loss. To weigh the rare "
            'rows more, set `class_weight = "balanced"` in [train]; the probabilities are then no longer calibrated.'
        )
    return words


def _task_words(seen: Sketch) -> str:
    if seen.task == "regression":
        return 'A number is predicted. ("binary" and "multiclass" predict one of several values.)'
    if seen.task == "binary":
        return "One of two values is predicted, with its probability."
    numbers = seen.types[seen.target].startswith(("int", "uint", "float", "decimal"))
    hint = ' If its numbers are amounts and not labels, write "regression".' if numbers else ""
    return f"One of {seen.classes} values is predicted, with a probability each.{hint}"


def _ingest(path: str, reading: Mapping[str, Any]) -> Iterator[str]:
    yield "[ingest]"
    yield 'use = "files"'
    yield comment("Relative to this file. A glob (data/*.parquet) or a list takes several files as one table.")
    yield assignment("path", path)
    for key, value in reading.items():
        if key == "decimal_comma" and value:
            yield comment("Its numbers are written 1,5.")
        yield assignment(key, value)


def _validate() -> Iterator[str]:
    yield "[validate]"
    yield 'use = "expectations"'
    yield comment(
        f"What must be true of the data stands in {EXPECTATIONS}: suggested from this data, to be edited by you. "
        "`headrace validate FILE` tries it on other data."
    )
    yield assignment("file", EXPECTATIONS)


def _split(seen: Sketch) -> Iterator[str]:
    division = seen.division
    yield "[split]"
    yield comment(f"{division.why[:1].upper()}{division.why[1:]}.")
    yield assignment("use", division.use)
    if division.use == "group":
        yield assignment("by", [division.column])
    yield comment(
        "Shares of the rows to choose by (when to stop, which parameters) and to be judged by; the rest is learnt from."
        + (" Each part gets its share of each class." if division.use == "random" and seen.task != "regression" else "")
    )
    yield assignment("valid", 0.15)
    yield assignment("test", 0.2)


def _features(seen: Sketch) -> Iterator[str]:
    yield "[features]"
    yield 'use = "plan"'
    if seen.time_column is not None and seen.time_parts is not None:
        yield comment(
            f"Of {_shown(seen.time_column)} only what comes round again within the data: what the model has seen once, "
            "it cannot tell from everything else that was new then."
        )
        yield assignment("columns", {seen.time_column: time_config(seen.time_parts)})
    yield comment(
        "What becomes of each column is decided from the training rows, kept with the model, and done again exactly so "
        "for every prediction. `columns` overrides it, for instance: "
        'columns = { NAME = { treat_as = "category" } }.\n'
        f"From {seen.judged_rows:,} rows it would be:\n" + "\n".join(_choices(seen))
    )


def _choices(seen: Sketch) -> Iterator[str]:
    rest = [c for c in seen.choices if c["column"] != seen.target]
    longest = max((len(_shown(c["column"])) for c in rest[:_SHOWN_COLUMNS]), default=0)
    for choice in rest[:_SHOWN_COLUMNS]:
        name = choice["column"]
        decision, reason = choice["decision"], choice["reason"]
        if name in seen.id_columns:
            decision, reason = "no feature", "see id_columns above"
        yield f"  {_shown(name):<{min(longest, 40)}}  {decision}: {reason}"
    if len(rest) > _SHOWN_COLUMNS:
        counts = Counter(choice["decision"] for choice in rest[_SHOWN_COLUMNS:])
        yield f"  and {len(rest) - _SHOWN_COLUMNS:,} more: " + ", ".join(f"{n:,} {word}" for word, n in counts.items())


def _train(seen: Sketch) -> Iterator[str]:
    rows, columns = seen.labelled, len(seen.types) - 1
    yield "[train]"
    yield 'use = "lightgbm"'
    estimators, rate, leaves, why = _size(rows)
    if seen.task == "multiclass" and seen.classes > 10:
        estimators = min(estimators, 300)
        why += f"; each round grows {seen.classes} trees, one a class, so fewer rounds"
    yield comment(f"{rows:,} rows: {why}. Training stops before, when the validation rows no longer gain.")
    yield assignment("n_estimators", estimators)
    yield assignment("learning_rate", rate)
    yield assignment("num_leaves", leaves)
    if rows < _FEW:
        yield comment(
            "With few rows a leaf holds few of them: its value is drawn towards zero, so that it is not too sure."
        )
        yield assignment("lambda_l2", 2.0)
    if columns > 200:
        yield comment(f"{columns:,} columns: each tree sees a part of them, which is faster and overfits less.")
        yield assignment("feature_fraction", 0.3 if columns > 1000 else 0.6)


def _size(rows: int) -> tuple[int, float, int, str]:
    if rows < _FEW:
        return 200, 0.05, 7, "few, so the trees are small"
    if rows < 20_000:
        return 500, 0.05, 31, "enough for trees of ordinary size"
    if rows < 1_000_000:
        return 1000, 0.05, 63, "many, so the trees may be larger"
    return 1500, 0.1, 127, "very many, so the trees may be large"


def _judge(seen: Sketch) -> Iterator[str]:
    primary = "rmse" if seen.task == "regression" else "log_loss"
    yield "[evaluate]"
    yield 'use = "holdout"'
    yield comment("Measured on the test rows, with bootstrap intervals, beside a predictor that knows no column.")
    yield f'# primary = "{primary}"'
    yield ""
    yield "[gate]"
    yield 'use = "champion"'
    yield comment(
        "A model becomes champion if it surely beats that predictor, and the present champion on the same rows. To let "
        'an equally good but fresher one pass: rule = "non-inferior", with a margin.'
    )


def _keep() -> Iterator[str]:
    yield "[register]"
    yield 'use = "package"'
    yield comment("`headrace models list` shows the versions; `headrace predict NAME@champion FILE` uses one.")
    yield ""
    yield "[report]"
    yield 'use = "html"'
    yield comment("`headrace report -o report.html` writes it. Plots need: pip install 'headrace[report]'")


def _shown(name: Any) -> str:
    """A name or label as it stands in a comment: as it is where that is clear, else in quotes."""
    text = str(name)
    return text if re.fullmatch(r"[\w.+%/-]+(?: [\w.+%/-]+)*", text) and len(text) <= 60 else toml_string(text[:60])
