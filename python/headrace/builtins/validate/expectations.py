"""`validate: expectations`: what must be true of the data, from a file that a person edits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from headrace import Dataset, StageContext, ValidationReport
from headrace.builtins.validate.document import Document, Lines, parse_document, read_document
from headrace.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

    from headrace.builtins.validate.rules import Finding

DEFAULT_FILE = "expectations.toml"
REASON = "quarantined_because"
ROW = "quarantined_row"
_MOST_SHOWN = 10


class Validated(NamedTuple):
    """What a `validate` stage gives."""

    data: Dataset
    quarantined: Dataset
    validation: ValidationReport


class ExpectationsConfig(BaseModel):
    """Where the expectations are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = Field(
        default=None,
        description=f"The file of expectations, relative to the project. Default: {DEFAULT_FILE}, if there is one. "
        "`headrace validate --suggest` writes one.",
    )
    expect: dict[str, Any] = Field(
        default_factory=dict,
        description="Expectations written here, in the words of the file: `[validate.expect.columns.age]`, `min = 0`.",
    )
    max_quarantined: float = Field(
        default=0.5, ge=0, le=1, description="Largest share of rows that quarantine may take before the stage fails."
    )


class ExpectationsValidator:
    """Tries every expectation on all rows, in one pass; rows that fail may be set apart.

    Missing values (null and NaN) satisfy everything but `nulls`. Expectations about a whole column or table look at all
    rows, those that go to quarantine included.
    """

    Config = ExpectationsConfig

    def __init__(self, config: ExpectationsConfig) -> None:
        self.config = config

    def external(self, project_dir: Path) -> dict[str, Any]:
        """Hashes of the file and of the files that `foreign` names; the clock, in hours or minutes, where it counts.

        The clock counts where an expectation of freshness says `as_of = "now"`: rounded down to the hour if the data
        may be a day old or older, else to the minute: so long a result may be taken from the cache, and no longer.
        """
        documents = self._documents(project_dir)
        files = sorted({path for document in documents for path, _ in _foreign_columns(document)})
        name = self._file(project_dir)
        return {
            "file": _sha256(project_dir / name, name) if name else None,
            "foreign": [[path, _sha256(project_dir / path, path)] for path in files],
            "now": _clock(documents).isoformat() if _needs_clock(documents) else None,
        }

    def run(self, ctx: StageContext, data: Dataset) -> Validated:
        from headrace.builtins.validate.builders import Table, build_rules
        from headrace.builtins.validate.columns import Columns
        from headrace.builtins.validate.rules import try_rules

        documents = self._documents(ctx.project_dir)
        count = sum(len(document.expectations) for document in documents)
        if count == 0:
            ctx.log("no expectations: `headrace validate --suggest` writes a file of them to begin with")
        lazy = data.lazy()
        columns = Columns.of(lazy.collect_schema())
        known = {
            (path, column): _read_foreign(ctx.project_dir, path, column)
            for document in documents
            for path, column in _foreign_columns(document)
        }
        table = Table(columns, known, _clock(documents))
        rules = [rule for document in documents for rule in build_rules(document, table)]
        findings = try_rules(rules, columns.positional(lazy))
        ctx.check_cancelled()
        self._refuse([finding for finding in findings if finding.rule.policy == "fail"])
        for finding in findings:
            ctx.log(f"{finding.rule.policy}: {finding.message}")
        kept, quarantined = _set_apart(data, columns, [f for f in findings if f.rule.policy == "quarantine"])
        if quarantined.num_rows > self.config.max_quarantined * data.num_rows or kept.num_rows == 0:
            raise DataError(
                f"{quarantined.num_rows} of {data.num_rows} rows would go to quarantine: "
                + "; ".join(f.message for f in findings if f.rule.policy == "quarantine")[:1000],
                hint="Look at the data; if that many is right, raise `max_quarantined`.",
            )
        ctx.metric("quarantined_rows", quarantined.num_rows)
        ctx.log(f"{count} expectations, {len(findings)} not met; {quarantined.num_rows} rows set apart")
        report = ValidationReport(
            rows=data.num_rows,
            quarantined_rows=quarantined.num_rows,
            expectations=count,
            findings=[_entry(finding) for finding in findings],
        )
        return Validated(kept, quarantined, report)

    def _file(self, project_dir: Path) -> str | None:
        if self.config.file is not None:
            return self.config.file
        return DEFAULT_FILE if (project_dir / DEFAULT_FILE).is_file() else None

    def _documents(self, project_dir: Path) -> list[Document]:
        documents = []
        name = self._file(project_dir)
        if name is not None:
            documents.append(parse_document(_text(project_dir / name, name), name))
        if self.config.expect:
            documents.append(read_document(self.config.expect, Lines("", "headrace.toml, `expect` of the stage")))
        return documents

    def _refuse(self, findings: list[Finding]) -> None:
        if not findings:
            return
        shown = [f"{finding.message} [{finding.rule.expectation.place}]" for finding in findings[:_MOST_SHOWN]]
        more = len(findings) - len(shown)
        raise DataError(
            ("1 expectation is" if len(findings) == 1 else f"{len(findings)} expectations are")
            + " not met:\n  - "
            + "\n  - ".join(shown)
            + (f"\n  - and {more} more" if more else ""),
            place=findings[0].rule.expectation.place,
            hint='Mend the data or the expectation; policy = "quarantine" sets rows apart, "warn" lets them pass.',
        )


def _set_apart(data: Dataset, columns: Any, findings: list[Finding]) -> tuple[Dataset, Dataset]:
    """The rows that meet the expectations, and those that do not with the reason and their row number."""
    import polars as pl

    schema = {**columns.schema, _free(ROW, columns.schema): pl.Int64(), _free(REASON, columns.schema): pl.String()}
    masks = [(finding.rule.mask, finding.rule.why) for finding in findings if finding.rule.mask is not None]
    if not masks:
        return data, Dataset.from_frame(pl.DataFrame(schema=schema))
    frame = data.frame()
    reasons = [pl.when(mask).then(pl.lit(why)) for mask, why in masks]
    told = columns.positional(frame.lazy()).select(
        bad=pl.any_horizontal(mask for mask, _ in masks),
        why=pl.concat_str(reasons, separator="; ", ignore_nulls=True),
    )
    found = told.collect()
    bad = found.get_column("bad")
    apart = frame.filter(bad).with_columns(
        bad.arg_true().cast(pl.Int64).alias(_free(ROW, columns.schema)),
        found.get_column("why").filter(bad).alias(_free(REASON, columns.schema)),
    )
    return Dataset.from_frame(frame.filter(~bad)), Dataset.from_frame(apart)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name


def _entry(finding: Finding) -> dict[str, Any]:
    expectation = finding.rule.expectation
    return {
        "expectation": expectation.kind,
        "column": expectation.column,
        "policy": finding.rule.policy,
        "failed_rows": finding.rows,
        "examples": list(finding.examples),
        "message": finding.message,
        "place": expectation.place,
    }


# --- what is read besides the data ------------------------------------------------------------------------------------


def _foreign_columns(document: Document) -> list[tuple[str, str]]:
    return [(e.value["file"], e.value["column"]) for e in document.expectations if e.kind == "foreign"]


def _needs_clock(documents: list[Document]) -> bool:
    return any(e.kind == "freshness" and e.value["as_of"] == "now" for d in documents for e in d.expectations)


def _clock(documents: list[Document]) -> dt.datetime:
    """Now, in UTC, as coarse as the shortest age that is asked for allows."""
    ages = [e.value["max_age"] for d in documents for e in d.expectations if e.kind == "freshness"]
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    return now.replace(minute=0) if all(age >= dt.timedelta(days=1) for age in ages) else now


def _text(path: Path, name: str) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(
            f"cannot read the file of expectations: {error.strerror}",
            place=name,
            hint="Check `file` of the stage, or write one with `headrace validate --suggest`.",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is no UTF-8", place=name, hint="Save the file as UTF-8.") from error


def _sha256(path: Path, name: str) -> str:
    import hashlib

    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"cannot read the file: {error.strerror}", place=name, hint="Check the path; it is relative to the project."
        ) from error


def _read_foreign(project_dir: Path, name: str, column: str) -> pl.Series:
    """A column of a Parquet, CSV or NDJSON file. Values of CSV are text until they are compared."""
    import polars as pl

    path = project_dir / name
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
        if magic == b"PAR1":
            frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
        elif path.suffix == ".csv":
            frame = pl.read_csv(path, glob=False, infer_schema=False)
        elif path.suffix in (".ndjson", ".jsonl"):
            frame = pl.read_ndjson(path, infer_schema_length=None)
        else:
            raise ConfigError("`foreign` reads Parquet, .csv and .ndjson files", place=name, hint="Name such a file.")
    except (OSError, pl.exceptions.PolarsError) as error:
        text = str(error).splitlines()[0]
        raise ConfigError(f"cannot read the file of `foreign`: {text}", place=name, hint="Check the file.") from error
    if column not in frame.columns:
        raise ConfigError(
            f"`foreign` names the column {column!r}, and the file has {', '.join(map(repr, frame.columns[:10]))}",
            place=name,
            hint="Name one of them.",
        )
    return frame.get_column(column).alias("values")
