"""The types of the columns of a CSV file, decided from all of its rows.

Our own rules, in a few passes over the text, because a guess from the first rows is a trap, and polars' guess from all
rows is slow and keeps silent about what it loses:

- a marker of missing values ("NA", "null", "?" ...) in a column of numbers, booleans or dates is missing; in a column
  of text it stays text (Namibia is "NA");
- whole numbers with leading zeros, or beyond 64 bits, are identifiers and stay text;
- dates that may be day/month or month/day stay text; where one value can be only one of them, all are that;
- a column of numbers in which a few odd words stand is an error that names them, not silently text.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from headrace.builtins.ingest.locate import SourceFile
from headrace.builtins.ingest.polars_errors import polars_errors
from headrace.errors import DataError

MARKERS = ("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "null", "NULL", "Null", "None", "-", "?")
#: A text column is "numbers with odd words in it" if at least half of it are numbers, at most so many words differ, ...
FEW_WORDS = 5
#: ... and the numbers look measured, not like codes: more different ones than this, or most of them different.
MANY_NUMBERS = 20
ONE_PASS = 1000

_LEADING_ZERO = r"^[+-]?0\d"
_COMMA_NUMBER = r"^[+-]?\d+(?:,\d+)?$"
_BOOLEANS = ("true", "false", "True", "False", "TRUE", "FALSE")
_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?"
_ISO = {
    "Date": rf"^{_DAY}$",
    "Datetime[us]": rf"^{_DAY}(?:{_CLOCK})?$",
    "Datetime[us, UTC]": rf"^{_DAY}{_CLOCK}(?:Z|[+-]\d\d:?\d\d)$",
}
_DATEISH = r"^\d{1,4}[-/.]\d"
_DAY_FIRST = r"^(?:1[3-9]|2\d|3[01])[/-]"
_MONTH_FIRST = r"^\d{1,2}[/-](?:1[3-9]|2\d|3[01])[/-]"
#: Pattern -> type, and the format without day and month.
_OTHER_DATES = {
    rf"^\d{{1,2}}{mark}\d{{1,2}}{mark}\d{{4}}{clock}$": (kind, sign, form)
    for sign, mark in (("/", "/"), ("-", "-"), (".", r"\."))
    for clock, kind, form in (
        ("", "Date", ""),
        (r" \d{1,2}:\d\d", "Datetime[us]", " %H:%M"),
        (r" \d{1,2}:\d\d:\d\d", "Datetime[us]", " %H:%M:%S"),
    )
}
_NUMERIC = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")
_TIME_OF_DAY = ("%H", "%I", "%T", "%R", "%M", "%S")


@dataclass(frozen=True)
class CsvDialect:
    """How the text is to be read."""

    separator: str = ","
    quote: str | None = '"'
    has_header: bool = True
    columns: tuple[str, ...] | None = None
    null_values: tuple[str, ...] = ()
    decimal_comma: bool = False
    parse_dates: bool = True
    types: Mapping[str, str] = field(default_factory=dict)
    date_formats: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Decided:
    """Column -> type (None: no value at all); columns parsed by a format; polars' `null_values`; notes for the log."""

    types: dict[str, str | None]
    times: dict[str, tuple[str, str]] = field(default_factory=dict)
    null_values: list[str] | dict[str, str] | None = None
    notes: list[str] = field(default_factory=list)


def decide_types(file: SourceFile, names: Sequence[str], options: Mapping[str, Any], dialect: CsvDialect) -> Decided:
    """The types of the columns `names` (in the file's order); `options` are those of polars' `scan_csv`."""
    for key, given in (("types", dialect.types), ("date_formats", dialect.date_formats)):
        check_known(given, names, key, file.shown)
    scan = _Scan(file, names, options, dialect)
    decided = Decided(dict.fromkeys(names), null_values=list(dialect.null_values) or None)
    stated = {*dialect.types, *dialect.date_formats}
    free = [name for name in names if name not in stated]
    counts = scan.count_numbers(free)
    texts = [name for name in free if counts[name]["rest"] and counts[name]["integers"] < counts[name]["rest"]]
    for name, more in scan.count_others(texts).items():
        counts[name] |= more
    dates = [name for name in texts if counts[name].get("dateish") == counts[name]["rest"]]
    for name, more in scan.count_dates(dates).items():
        counts[name] |= more
    for name in free:
        decided.types[name] = _type_of(name, counts[name], scan, decided)
    _take_markers(scan, [n for n in free if counts[n]["rest"] < counts[n]["values"]], decided)
    for name, form in dialect.date_formats.items():
        kind = "Datetime[us]" if any(part in form for part in _TIME_OF_DAY) else "Date"
        decided.times[name] = (dialect.types.get(name, kind), form)
    decided.types |= dialect.types
    decided.types |= {name: kind for name, (kind, _) in decided.times.items()}
    scan.refuse_mixed([name for name in free if decided.types[name] == "String"], counts)
    scan.refuse_unfit({n: t for n, t in dialect.types.items() if t in _NUMERIC})
    return decided


def toml_key(text: str) -> str:
    """The text as a TOML string, to be pasted into a spec."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_known(given: Mapping[str, str], names: Sequence[str], key: str, shown: str) -> None:
    """Raise `DataError` if `given` (config key `key`) speaks of a column that the file does not have."""
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise DataError(
                f"`{key}` speaks of the column {name!r}, which the file does not have",
                place=shown,
                hint=f"Did you mean {near[0]!r}?" if near else f"Its columns: {', '.join(map(repr, names[:10]))}.",
            )


def _type_of(name: str, counts: Mapping[str, int], scan: _Scan, decided: Decided) -> str | None:
    """The type of one column from what was counted in it; None if it holds nothing but missing values."""

    def note(text: str) -> None:
        decided.notes.append(f"{scan.file.shown}: column {name!r} {text}")

    rest = counts["rest"]
    if rest == 0:
        return None
    if counts["integers"] == rest:
        if counts["zeros"]:
            override = f'`types = {{ {toml_key(name)} = "Int64" }}`'
            note(f"has whole numbers with leading zeros: kept as text ({override} reads them as numbers)")
            return "String"
        return "Int64"
    if counts["numbers"] == rest:
        if counts["digits"] == rest:
            note("has whole numbers beyond 64 bits: kept as text")
            return "String"
        return "Float64"
    if counts["booleans"] == rest:
        return "Boolean"
    if counts.get("dateish") == rest:
        for kind in _ISO:
            if counts[kind] == rest and scan.parses(name, kind):
                return kind
        for pattern, (kind, sign, clock) in _OTHER_DATES.items():
            if counts[pattern] == rest:
                form = _day_and_month(sign, counts)
                if form is None:
                    note("has dates that may be day/month or month/day: kept as text (`date_formats` says which)")
                elif scan.parses(name, kind, form + clock):
                    note(f"has dates as {form}{clock}")
                    decided.times[name] = (kind, form + clock)
                    return kind
    if counts["commas"] == rest and not scan.dialect.decimal_comma:
        note("looks like numbers with a decimal comma: kept as text (`decimal_comma = true` reads them as numbers)")
    return "String"


def _day_and_month(sign: str, counts: Mapping[str, int]) -> str | None:
    """The order of a column like 31/12/2020 or 12/31/2020, or None if nobody can tell. Dots put the day first."""
    if sign != "." and (counts["day_first"] > 0) == (counts["month_first"] > 0):
        return None
    order = "%d{0}%m{0}%Y" if sign == "." or counts["day_first"] else "%m{0}%d{0}%Y"
    return order.format(sign)


def _take_markers(scan: _Scan, names: Sequence[str], decided: Decided) -> None:
    """Say in `decided.null_values` which markers count as missing, so that text columns keep theirs as text."""
    better = [name for name in names if decided.types[name] != "String"]
    if not better:
        return
    present = scan.markers(names)
    used = {marker for name in better for marker in present[name]}
    kept = {marker for name in names if name not in better for marker in present[name]}
    if not used & kept:
        decided.null_values = [*scan.dialect.null_values, *sorted(used)]
    elif not scan.dialect.null_values and all(len(present[name]) == 1 for name in better):
        decided.null_values = {name: present[name][0] for name in better}
    else:
        name = next(name for name in better if set(present[name]) & kept)
        raise DataError(
            f"column {name!r} marks missing values by {', '.join(map(repr, present[name]))}, and another column has "
            "the same as text",
            place=scan.file.shown,
            hint="Name the markers with `null_values = [...]`, or keep the column as text with `types`.",
        )
    for name in better:
        marks = ", ".join(map(repr, present[name]))
        decided.notes.append(f"{scan.file.shown}: column {name!r}: {marks} counts as missing")


class _Scan:
    """Passes over the text of one file. Inside, columns go by position: a name may look like a pattern to polars."""

    def __init__(self, file: SourceFile, names: Sequence[str], options: Mapping[str, Any], dialect: CsvDialect) -> None:
        self.file = file
        self.options = dict(options)
        self.dialect = dialect
        self.position = {name: i for i, name in enumerate(names)}

    def text(self) -> pl.LazyFrame:
        """Every value as text, columns named "0", "1", ..."""
        schema = {str(i): pl.String for i in self.position.values()}
        nulls = list(self.dialect.null_values) or None
        return pl.scan_csv(self.file.path, glob=False, schema=schema, null_values=nulls, **self.options)

    def column(self, name: str) -> pl.Expr:
        return pl.col(str(self.position[name]))

    def rest(self, name: str) -> pl.Expr:
        """The column without markers of missing values."""
        text = self.column(name)
        return pl.when(~text.is_in(list(MARKERS))).then(text)

    def number(self, text: pl.Expr, dtype: Any = pl.Float64) -> pl.Expr:
        text = text.str.strip_chars_start(" ")  # as polars' CSV reader does
        if self.dialect.decimal_comma:
            text = text.str.replace(",", ".", literal=True)
        return text.cast(dtype, strict=False)

    def select(self, wanted: Mapping[str, pl.Expr]) -> dict[str, Any]:
        """One pass; several for very many expressions, because polars' planning grows with their square."""
        found: dict[str, Any] = {}
        names = list(wanted)
        for start in range(0, len(names), ONE_PASS):
            some = {name: wanted[name] for name in names[start : start + ONE_PASS]}
            with polars_errors(self.file):
                found |= self.text().select(**some).collect(engine="streaming").row(0, named=True)
        return found

    def count(self, asked: Mapping[str, Mapping[str, pl.Expr]]) -> dict[str, dict[str, int]]:
        """Column -> question -> count, all in one pass."""
        flat = {
            f"{self.position[name]} {i}": expression
            for name, questions in asked.items()
            for i, expression in enumerate(questions.values())
        }
        found = self.select(flat) if flat else {}
        return {
            name: {key: int(found[f"{self.position[name]} {i}"] or 0) for i, key in enumerate(questions)}
            for name, questions in asked.items()
        }

    def count_numbers(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        asked = {}
        for name in names:
            rest = self.rest(name)
            asked[name] = {
                "values": self.column(name).count(),
                "rest": rest.count(),
                "integers": self.number(rest, pl.Int64).count(),
                "zeros": rest.str.contains(_LEADING_ZERO).sum(),
            }
        return self.count(asked)

    def count_others(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """For columns that are not whole numbers."""
        asked = {}
        for name in names:
            rest = self.rest(name)
            asked[name] = {
                "numbers": self.number(rest).count(),
                "digits": rest.str.contains(r"^[+-]?\d+$").sum(),
                "booleans": rest.is_in(list(_BOOLEANS)).sum(),
                "commas": rest.str.contains(_COMMA_NUMBER).sum(),
            }
            if self.dialect.parse_dates:
                asked[name]["dateish"] = rest.str.contains(_DATEISH).sum()
        return self.count(asked)

    def count_dates(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """For columns whose every value begins like a date."""
        patterns = {
            **_ISO,
            **{pattern: pattern for pattern in _OTHER_DATES},
            "day_first": _DAY_FIRST,
            "month_first": _MONTH_FIRST,
        }
        return self.count(
            {name: {k: self.rest(name).str.contains(p).sum() for k, p in patterns.items()} for name in names}
        )

    def parses(self, name: str, kind: str, form: str | None = None) -> bool:
        """Whether every value of the column is valid: 2023-02-30 looks like a date and is none."""
        zone = "UTC" if "UTC" in kind else None
        dtype = pl.Date() if kind == "Date" else pl.Datetime("us", zone)
        at = str(self.position[name])
        schema: dict[str, Any] = {str(i): pl.String() for i in self.position.values()}
        nulls = [*self.dialect.null_values, *MARKERS]
        if form is None:
            schema[at] = dtype
        lazy = pl.scan_csv(self.file.path, glob=False, schema=schema, null_values=nulls, **self.options)
        column = pl.col(at) if form is None else pl.col(at).str.strptime(dtype, form)
        try:
            lazy.select(column.count()).collect(engine="streaming")
        except pl.exceptions.PolarsError:
            return False
        return True

    def markers(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Which markers each of the columns holds, sorted."""
        asked = {name: {m: (self.column(name) == m).any() for m in MARKERS} for name in names}
        return {name: sorted(m for m, found in each.items() if found) for name, each in self.count(asked).items()}

    def refuse_mixed(self, names: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> None:
        """Raise for the first text column that is numbers but for a few odd words."""
        for name in names:
            numbers, values = counts[name].get("numbers", 0), counts[name]["rest"]
            if not 0 < numbers < values or 2 * numbers < values or counts[name]["zeros"]:
                continue
            text = self.rest(name)
            number = self.number(text)
            odd = text.is_not_null() & number.is_null()
            found = self.select(
                {
                    "words": text.filter(odd).n_unique(),
                    "different": number.drop_nulls().n_unique(),
                    "row": odd.arg_max(),
                    "word": text.filter(odd).first(),
                }
            )
            measured = found["different"] > MANY_NUMBERS or 2 * found["different"] >= numbers
            if found["words"] <= FEW_WORDS and measured:
                word = str(found["word"])
                raise DataError(
                    f"column {name!r} mixes numbers and text: row {found['row']} (counted from 0) has {word[:60]!r}, "
                    f"while {numbers} of {values} values are numbers",
                    place=self.file.shown,
                    hint=f"If it means a missing value, set `null_values = [{toml_key(word)}]`; if the column is text, "
                    f'set `types = {{ {toml_key(name)} = "String" }}`; else mend the file.',
                )

    def refuse_unfit(self, stated: Mapping[str, str]) -> None:
        """Raise for the first value that is no number although `types` says that its column has numbers."""
        for name, kind in stated.items():
            text = self.column(name)
            odd = text.is_not_null() & self.number(text, getattr(pl, kind)).is_null()
            found = self.select({"count": odd.sum(), "row": odd.arg_max(), "word": text.filter(odd).first()})
            if found["count"]:
                raise DataError(
                    f"column {name!r} is {kind} by `types`, and row {found['row']} (counted from 0) has "
                    f"{str(found['word'])[:60]!r}; so have {found['count'] - 1} further rows such values",
                    place=self.file.shown,
                    hint="Mend the file, name the value in `null_values`, or state another type.",
                )
