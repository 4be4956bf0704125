"""Labels that come in after the predictions: into the store, and beside the prediction log as metrics over time."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from headrace.errors import DataError, InvalidNameError, NotFoundError, SpecError
from headrace.hooks.catalog import nearest
from headrace.project.reading import read_file
from headrace.serving.labels import Columns, read
from headrace.serving.logged import Logged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import polars as pl

    from headrace.compute.metrics import Scored
    from headrace.compute.plan.feature_plan import FeaturePlan
    from headrace.project import Project
    from headrace.store.live import Label

Period = Literal["hour", "day", "week", "month"]
LOG = "predictions"
"""Where `headrace serve` logs predictions, in the store's folder."""
MOST_VALUES = 20
"""Of a slice's values in a period; the rest are `OTHER` together."""
NONE, OTHER = "(none)", "(other)"
_EVERY = {"hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}


@dataclass(frozen=True)
class Told:
    """What became of a file.

    Attributes
    ----------
    labels
        How many it gave, or None where the very same file was read before.
    empty
        Rows of it without a label.
    unknown
        Labels for rows that are not in the prediction log. They are kept: the log may be another server's.

    """

    labels: int | None
    empty: int
    unknown: Sequence[Label] = ()


def take_file(project: Project, path: Path, columns: Columns, *, log: Path | None = None) -> Told:
    """Add the labels of a file to the store; each file counts once. Rows without a label are not there yet.

    A label is known by the request's id, `ID` or, for another row than the first of a request, `ID/ROW`; or by `ID` and
    the column `row`. Of several labels for a row the one with the latest time counts; where the file has no times, the
    one that came in last. Where there is no log, nothing is unknown.

    Raises `DataError` that names the file, column and row.
    """
    frame = read_file(project, path).frame()
    for name in (columns.id, columns.label, columns.row, columns.time):
        if name is not None and name not in frame.columns:
            known = ", ".join(map(repr, frame.columns[:10]))
            raise DataError(
                f"there is no column {name!r}; the file has {known}",
                place=str(path),
                hint="Name the columns with --id, --label, --row and --time.",
            )
    labels, empty = [], 0
    for number, row in enumerate(frame.select(columns.names).iter_rows(named=True)):
        label = read(row, columns, f"{path}, row {number}")
        if label is None:
            empty += 1
        else:
            labels.append(label)
    # The same bytes with other columns named are other labels.
    digest = hashlib.sha256(path.read_bytes() + repr(columns).encode()).hexdigest()
    told = project.store.live.tell(digest, labels)
    folder = log or project.existing_store.root / LOG
    return Told(told, empty, Logged(folder).missing(labels) if folder.is_dir() else [])


@dataclass(frozen=True)
class Measured:
    """The metrics of a version in a period: rows predicted, rows with a label, and values by name (None: undefined).

    `slice`: of which column and value only, or None: of all rows.
    """

    model: str
    version: str
    start: dt.datetime
    rows: int
    labelled: int
    metrics: dict[str, float | None]
    slice: tuple[str, str] | None = None


def summary(
    project: Project,
    *,
    log: Path | None = None,
    period: Period = "day",
    slices: Sequence[str] = (),
    model: str | None = None,
) -> list[Measured]:
    """Metrics over time by version, of the rows in the prediction log that have a label by now; also by `slices`.

    A request that is in the log twice, because its client tried again, counts once: the last time. `slices` are inputs
    that the server logged. A version that is not in the registry, as that of a file, has rows and no metrics. `model`:
    of this one only; the log has whatever the store's servers serve.
    """
    import polars as pl

    frame = predictions(log or project.existing_store.root / LOG, slices)
    if frame is None:
        return []
    if model is not None:
        frame = frame.filter(pl.col("model") == model)
    labels = pl.DataFrame(
        [(one.request_id, one.row, one.label) for one in project.store.live.labels()],
        schema={"request_id": pl.String, "row": pl.UInt32, "label": pl.String},
        orient="row",
    )
    frame = frame.sort("time", maintain_order=True).unique(["model", "version", "request_id", "row"], keep="last")
    frame = frame.join(labels, on=["request_id", "row"], how="left")
    frame = frame.with_columns(pl.col("time").dt.truncate(_EVERY[period]).alias("start"))
    plans: dict[str, FeaturePlan] = {}
    return by_parts(frame, slices, lambda model, version, rows: _metrics(project, plans, f"{model}@{version}", rows))


def by_parts(
    frame: pl.DataFrame, slices: Sequence[str], measure: Callable[[str, str, pl.DataFrame], dict[str, float | None]]
) -> list[Measured]:
    """`measure` of the labelled rows of each model, version and start, and of each of their slices.

    `frame` has the columns `model`, `version`, `start`, `label` (null: not known) and each slice as text, `/NAME`.
    """
    import polars as pl

    found = []
    for (model, version, start), part in sorted(
        frame.group_by(["model", "version", "start"]), key=lambda group: [str(key) for key in group[0]]
    ):
        assert isinstance(start, dt.datetime)  # noqa: S101  # for mypy
        pieces: list[tuple[tuple[str, str] | None, pl.DataFrame]] = [(None, part)]
        for name in slices:
            pieces += [((name, str(key[0])), rows) for key, rows in _values(part, name)]
        for piece, rows in pieces:
            judged = rows.filter(pl.col("label").is_not_null())
            metrics = measure(str(model), str(version), judged) if judged.height else {}
            found.append(Measured(str(model), str(version), start, rows.height, judged.height, metrics, piece))
    return found


def _values(part: pl.DataFrame, name: str) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    """The rows of each value of a slice; those of rare values together."""
    import polars as pl

    column = pl.col(f"/{name}").fill_null(NONE)
    part = part.with_columns(column.alias("/"))
    often = part["/"].value_counts(sort=True)["/"].head(MOST_VALUES)
    part = part.with_columns(pl.when(pl.col("/").is_in(often.implode())).then("/").otherwise(pl.lit(OTHER)).alias("/"))
    return sorted(part.group_by(["/"]), key=lambda group: str(group[0][0]))


def predictions(folder: Path, slices: Sequence[str] = ()) -> pl.DataFrame | None:
    """What a prediction log holds, of the inputs only `slices`, as text, as `/NAME`; None where there is nothing."""
    import polars as pl

    parts, logged = [], set[str]()
    columns = ["request_id", "row", "time", "model", "version", "outputs", *(["inputs"] if slices else [])]
    for path in sorted(folder.glob("*.arrow")):
        try:
            part = pl.read_ipc(path, columns=columns)
            if slices:
                inputs = part["inputs"].struct.unnest()
                logged.update(inputs.columns)
                texts_ = [_as_text(inputs, name, part.height) for name in slices]
                part = part.drop("inputs").with_columns(texts_)
            parts.append(part)
        except FileNotFoundError:  # the server has removed it to make room
            continue
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"no segment of a prediction log: {error}", place=str(path), hint="Move it away."
            ) from error
    if not parts:
        return None
    for name in slices:
        if name not in logged:
            raise SpecError(
                f"{name!r} is no column that the server logged",
                place="`slices` of [loop.live]",
                hint=nearest(name, logged),
            )
    # Models differ in their outputs, so those are kept as text until a version is looked at by itself.
    texts = [part.with_columns(pl.col("outputs").struct.json_encode()) for part in parts]
    return pl.concat(texts)


def _as_text(inputs: pl.DataFrame, name: str, height: int) -> pl.Series:
    import polars as pl

    found = as_text(inputs[name]) if name in inputs.columns else pl.Series([None] * height, dtype=pl.String)
    return found.alias(f"/{name}")


def as_text(values: pl.Series) -> pl.Series:
    """The values of a slice as they are shown; 0 and -0 are one."""
    import polars as pl

    if values.dtype.is_float():
        values = values.set((values == 0).fill_null(value=False), 0.0)  # adding 0 is optimised away
    return values.cast(pl.String)


def _metrics(
    project: Project, plans: dict[str, FeaturePlan], which: str, judged: pl.DataFrame
) -> dict[str, float | None]:
    from headrace.compute.plan.feature_plan import FeaturePlan

    if which not in plans:
        try:
            package = project.registry.resolve(which)
        except (NotFoundError, InvalidNameError):
            # A file that was served beside the project's models, or a model that was deleted: nobody knows its classes.
            return {}
        plans[which] = FeaturePlan.from_document(json.loads(package.read("plan.json")))
    return all_metrics(_scored(plans[which], judged, which))


def all_metrics(scored: Scored) -> dict[str, float | None]:
    """Every metric of the task; None where it is not defined on these rows."""
    from headrace.compute import metrics

    return {
        metric.name: value if isinstance(value := metrics.measure(scored, metric.name), float) else None
        for metric in metrics.for_task(scored.task)
    }


def _scored(plan: FeaturePlan, judged: pl.DataFrame, place: str) -> Any:
    from headrace.compute import metrics

    outputs = [json.loads(text) for text in judged["outputs"]]
    labels = [json.loads(text) for text in judged["label"]]
    if plan.task == "regression":
        return metrics.Scored("regression", [_number(one, place) for one in labels], [o["prediction"] for o in outputs])
    names = list(plan.class_names)
    index = {_text(one): position for position, one in enumerate(plan.classes)}
    index |= {name: position for position, name in enumerate(names)}
    truth = []
    for label in labels:
        if _text(label) not in index:
            known = ", ".join(names[:10])
            raise DataError(f"the label {label!r} is no class of the model", place=place, hint=f"It has {known}.")
        truth.append(index[_text(label)])
    return metrics.Scored(plan.task, truth, [[row[f"probability_{name}"] for name in names] for row in outputs])


def _number(label: Any, place: str) -> float:
    try:
        return float(label)
    except ValueError as error:
        raise DataError(f"the label {label!r} is no number", place=place, hint="Correct it in a later file.") from error


def _text(label: Any) -> str:
    """A label as text, whatever a file made of it: 1, 1.0 and "1" are one."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return str(label).lower() if isinstance(label, bool) else str(label)


def as_document(found: Sequence[Measured]) -> dict[str, Any]:
    """For `--json`."""
    return {
        "periods": [
            {
                "model": one.model,
                "version": one.version,
                "start": one.start.isoformat(),
                "rows": one.rows,
                "labelled": one.labelled,
                "metrics": one.metrics,
                "slice": None if one.slice is None else {"column": one.slice[0], "value": one.slice[1]},
            }
            for one in found
        ]
    }
