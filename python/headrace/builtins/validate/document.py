"""`expectations.toml`: what a person may write in it, read into a list of expectations that know their line."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from headrace.errors import ConfigError

Policy = Literal["fail", "warn", "quarantine"]
POLICIES: tuple[Policy, ...] = ("fail", "warn", "quarantine")
#: These speak of the table or of a whole column, so no row can be blamed and put into quarantine.
WHOLE = ("column", "type", "null_share", "mean", "sum", "min_rows", "max_rows", "extra_columns", "freshness")
MONOTONIC = ("increasing", "decreasing", "strictly increasing", "strictly decreasing")
FAMILIES = ("integer", "number", "text", "boolean", "date", "datetime")


@dataclass(frozen=True)
class Expectation:
    """One thing that must be true. `policy` is None where the default applies; `place` is file and line."""

    kind: str
    columns: tuple[str, ...]
    value: Any
    policy: Policy | None
    place: str

    @property
    def column(self) -> str | None:
        return self.columns[0] if len(self.columns) == 1 else None


@dataclass(frozen=True)
class Document:
    """All expectations, and the policy of those that name none."""

    policy: Policy
    expectations: tuple[Expectation, ...]


def parse_document(text: str, name: str) -> Document:
    """Read `expectations.toml`; `name` stands for it in messages. `ConfigError` names the line and the nearest key."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise ConfigError(
            f"this is not TOML: {error}", place=f"{name}:{line[1]}" if line else name, hint="Mend the line."
        ) from error
    return read_document(raw, Lines(text, name))


class Lines:
    """Where a key stands in a TOML text: the place to name in a message."""

    _KEY = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
    _DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._lines: dict[tuple[str, ...], int] = {}
        header = re.compile(rf"\s*(\[\[?)\s*({self._DOTTED})\s*\]")
        key = re.compile(rf"\s*({self._DOTTED})\s*=")
        table: tuple[str, ...] = ()
        counts: dict[tuple[str, ...], int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if match := header.match(line):
                table = self._path(match[2])
                if match[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, str(counts[table]))
                self._lines.setdefault(table, number)
            elif match := key.match(line):
                self._lines.setdefault((*table, *self._path(match[1])), number)

    def place(self, *path: str) -> str:
        """`file:line` of the key, or of the nearest table around it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._lines:
                return f"{self.name}:{self._lines[path[:end]]}"
        return self.name

    @staticmethod
    def _path(dotted: str) -> tuple[str, ...]:
        try:
            value: Any = tomllib.loads(f"{dotted} = 0")
        except tomllib.TOMLDecodeError:
            return (dotted,)
        path = []
        while isinstance(value, dict):
            name, value = next(iter(value.items()))
            path.append(name)
        return tuple(path)


def read_document(raw: Mapping[str, Any], lines: Lines) -> Document:
    """Turn the parsed TOML (or the same written inline) into expectations."""
    reader = _Reader(lines)
    reader.known(raw, ("policy", "table", "columns", "check"), ())
    policy = reader.policy(raw.get("policy", "fail"), ("policy",))
    made: list[Expectation] = []
    made += reader.table(reader.mapping(raw.get("table", {}), ("table",)))
    for name, section in reader.mapping(raw.get("columns", {}), ("columns",)).items():
        made += reader.column(name, reader.mapping(section, ("columns", name)))
    checks = raw.get("check", [])
    if not isinstance(checks, Sequence) or isinstance(checks, str):
        raise ConfigError(
            "`check` must be a list", place=lines.place("check"), hint="Write [[check]] with `that = ...`."
        )
    for i, section in enumerate(checks):
        made.append(reader.check(reader.mapping(section, ("check", str(i))), str(i)))
    return Document(policy, tuple(made))


class _Reader:
    def __init__(self, lines: Lines) -> None:
        self.lines = lines

    # --- sections ---

    def table(self, section: Mapping[str, Any]) -> list[Expectation]:
        self.known(section, ("min_rows", "max_rows", "unique", "extra_columns", "freshness"), ("table",))
        made = []
        for key, given in section.items():
            path = ("table", key)
            value, policy = (given, None) if key == "freshness" else self.unwrap(given, path)
            if key in ("min_rows", "max_rows"):
                self.require(_is_count(value), path, value, "a whole number, 0 or more")
                made.append(self.make(key, (), value, policy, path))
            elif key == "unique":
                self.require(_is_list_of_names(value), path, value, 'a list of lists of columns, as [["year", "id"]]')
                made += [self.make("unique", tuple(names), True, policy, path) for names in value]
            elif key == "extra_columns":
                self.require(value in ("allow", "refuse"), path, value, '"allow" or "refuse"')
                if value == "refuse":
                    made.append(self.make(key, (), True, policy, path))
            else:
                made.append(self.freshness(self.mapping(given, path), path))
        return made

    def freshness(self, section: Mapping[str, Any], path: tuple[str, ...]) -> Expectation:
        self.known(section, ("column", "max_age", "as_of", "policy"), path)
        for key in ("column", "max_age", "as_of"):
            if key not in section:
                raise ConfigError(
                    f"[table.freshness] needs `{key}`",
                    place=self.lines.place(*path),
                    hint='Write column = "...", max_age = "2d", as_of = "now" (or a fixed date).',
                )
        column = section["column"]
        self.require(isinstance(column, str), (*path, "column"), column, "a column name")
        age = parse_duration(section["max_age"])
        self.require(age is not None, (*path, "max_age"), section["max_age"], 'a duration, as "2d", "12h" or "30m"')
        as_of: Any = section["as_of"]
        if isinstance(as_of, str) and as_of != "now":
            as_of = _moment(as_of)
        self.require(
            as_of == "now" or isinstance(as_of, dt.date), (*path, "as_of"), section["as_of"], '"now", or a date or time'
        )
        policy = self.policy(section["policy"], (*path, "policy")) if "policy" in section else None
        return self.make("freshness", (column,), {"max_age": age, "as_of": as_of}, policy, path)

    def column(self, name: str, section: Mapping[str, Any]) -> list[Expectation]:
        path = ("columns", name)
        self.known(section, ("policy", "optional", *_COLUMN_KEYS), path)
        default = self.policy(section["policy"], (*path, "policy")) if "policy" in section else None
        optional = section.get("optional", False)
        self.require(isinstance(optional, bool), (*path, "optional"), optional, "true or false")
        presence = default if default != "quarantine" else None
        made = [self.make("column", (name,), not optional, presence, path)]
        for key, given in section.items():
            if key in ("policy", "optional"):
                continue
            value, policy = self.unwrap(given, (*path, key), table_value=key == "foreign")
            accepts, wanted = _COLUMN_KEYS[key]
            self.require(accepts(value), (*path, key), value, wanted)
            if (key == "unique" and value is False) or (key == "nulls" and value is True):
                continue
            kind = "null_share" if key == "nulls" and value is not False else key
            if policy is None and default == "quarantine" and kind in WHOLE:
                default_here: Policy | None = None
            else:
                default_here = default
            made.append(self.make(kind, (name,), value, policy or default_here, (*path, key)))
        return made

    def check(self, section: Mapping[str, Any], index: str) -> Expectation:
        path = ("check", index)
        self.known(section, ("that", "policy", "name"), path)
        if not isinstance(section.get("that"), str):
            raise ConfigError(
                "[[check]] needs `that`", place=self.lines.place(*path), hint='Write that = "departure <= arrival".'
            )
        policy = self.policy(section["policy"], (*path, "policy")) if "policy" in section else None
        name = section.get("name", section["that"])
        return self.make("check", (), {"that": section["that"], "name": str(name)}, policy, (*path, "that"))

    # --- small things ---

    def make(
        self, kind: str, columns: tuple[str, ...], value: Any, policy: Policy | None, path: tuple[str, ...]
    ) -> Expectation:
        place = self.lines.place(*path)
        if policy == "quarantine" and kind in WHOLE:
            raise ConfigError(
                f"`{path[-1]}` speaks of a whole column or table, so it cannot put rows into quarantine",
                place=place,
                hint='Use policy = "fail" or "warn".',
            )
        return Expectation(kind, columns, value, policy, place)

    def known(self, section: Mapping[str, Any], keys: Sequence[str], path: tuple[str, ...]) -> None:
        for key in section:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                where = f"[{'.'.join(path)}]" if path else "the file"
                raise ConfigError(
                    f"unknown key {key!r} in {where}",
                    place=self.lines.place(*path, key),
                    hint=f"Did you mean {near[0]!r}?" if near else f"The keys are {', '.join(keys)}.",
                )

    def mapping(self, value: Any, path: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"`{'.'.join(path)}` must be a table", place=self.lines.place(*path), hint="Write [...].")
        return value

    def policy(self, value: Any, path: tuple[str, ...]) -> Policy:
        for policy in POLICIES:
            if value == policy:
                return policy
        raise ConfigError(
            f"`policy` is {value!r}", place=self.lines.place(*path), hint='Use "fail", "warn" or "quarantine".'
        )

    def unwrap(self, given: Any, path: tuple[str, ...], *, table_value: bool = False) -> tuple[Any, Policy | None]:
        """`key = value`, or `key = { value = ..., policy = ... }`."""
        if not isinstance(given, Mapping) or (table_value and "value" not in given):
            return given, None
        self.known(given, ("value", "policy"), path)
        if "value" not in given:
            raise ConfigError(
                f"`{path[-1]}` has no `value`",
                place=self.lines.place(*path),
                hint='Write { value = ..., policy = "warn" }.',
            )
        policy = self.policy(given["policy"], (*path, "policy")) if "policy" in given else None
        return given["value"], policy

    def require(self, fine: bool, path: tuple[str, ...], value: Any, wanted: str) -> None:
        if not fine:
            raise ConfigError(
                f"`{path[-1]}` is {value!r}, and must be {wanted}", place=self.lines.place(*path), hint="Correct it."
            )


# --- values -----------------------------------------------------------------------------------------------------------

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(w|d|h|m|s)")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def parse_duration(text: Any) -> dt.timedelta | None:
    """`2d`, `12h`, `30m`, `1.5w`, `90s`; None for anything else."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return dt.timedelta(**{_UNITS[match[2]]: float(match[1])}) if match else None


def _moment(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_bound(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, (str, dt.date, dt.time)) and value != "")


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


def _is_values(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(v, bool) or _is_bound(v) or v == "" for v in value)
    )


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(names, list) and names and all(isinstance(name, str) for name in names) for names in value
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_types(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and bool(value) and all(map(_is_text, value)))


def _is_foreign(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"file", "column"} and all(map(_is_text, value.values()))


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_nulls(value: Any) -> bool:
    return isinstance(value, bool) or (_is_number(value) and 0 <= value <= 1)


#: Key of a column's section -> which values it takes, and the words for that.
_COLUMN_KEYS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_types, f"a type or a list of types: {', '.join(FAMILIES)}, or as polars writes it"),
    "nulls": (_is_nulls, "true, false, or the largest share of missing values, as 0.05"),
    "min": (_is_bound, "a number, a text, a date or a time"),
    "max": (_is_bound, "a number, a text, a date or a time"),
    "allowed": (_is_values, "a list of values"),
    "forbidden": (_is_values, "a list of values"),
    "regex": (_is_text, "a regular expression"),
    "min_length": (_is_count, "a whole number of characters"),
    "max_length": (_is_count, "a whole number of characters"),
    "unique": (_is_bool, "true or false"),
    "monotonic": (lambda value: value in MONOTONIC, f"one of {', '.join(MONOTONIC)}"),
    "mean": (_is_pair, "[lowest, highest]"),
    "sum": (_is_pair, "[lowest, highest]"),
    "foreign": (_is_foreign, '{ file = "...", column = "..." }'),
}
