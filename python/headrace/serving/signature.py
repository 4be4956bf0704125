"""What versions take, compared: a request that one answers, another one that takes its place should answer as well."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.serving.server import Loaded


def lacking(before: Loaded, after: Loaded) -> str | None:
    """What `after` asks for that a request to `before` need not have, for a sentence; None where there is nothing."""
    old, new = (one.core.inputs for one in (before, after))
    if before.core.takes_rows and after.core.takes_rows:
        # Columns that a plan does not read are ignored, and values are read as the plan has them.
        more = [repr(name) for name, _, _ in new if name not in {name for name, _, _ in old}]
        return f"takes {', '.join(more[:10])}" if more else None
    fits = before.core.takes_rows == after.core.takes_rows and len(old) == len(new)
    fits = fits and all(a[:2] == b[:2] and _holds(a[2], b[2]) for a, b in zip(sorted(old), sorted(new), strict=True))
    return None if fits else f"takes {_inputs(after)}"


def _holds(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether every shape that was taken is; -1 is any length."""
    return len(before) == len(after) and all(b in (-1, a) for a, b in zip(before, after, strict=True))


def _inputs(one: Loaded) -> str:
    return ", ".join(f"{name!r} ({kind} {shape})" for name, kind, shape in one.core.inputs[:10])


def refuse_mixed(endpoint: str, versions: Sequence[Loaded], shadows: Sequence[Loaded]) -> None:
    """Versions of an endpoint have names of their own, and take the same; shadows take what the versions do."""
    names: dict[str, Loaded] = {}
    for one in versions:
        if names.setdefault(str(one), one) is not one:
            raise ServingError(
                f"{endpoint!r} would have two versions that are both called {one}",
                place=endpoint,
                hint="Load one of the files with another number (`load(file, version=...)`), or give it an endpoint.",
            )
    for first in versions[:1]:
        for one in versions[1:]:
            if lack := lacking(first, one) or lacking(one, first):
                raise ServingError(
                    f"{endpoint!r} would share its requests between {first} and {one}, of which one {lack}",
                    place=endpoint,
                    hint="Give each an endpoint of its own; the versions of one must take the same inputs.",
                )
        for one in shadows:
            # One that takes other columns is tried on the requests that have them.
            if (not (first.core.takes_rows and one.core.takes_rows)) and (lack := lacking(first, one)):
                raise ServingError(
                    f"{one} cannot be a shadow of {first}: it {lack}",
                    place=endpoint,
                    hint="A shadow must take what the version takes that answers.",
                )


def numbered(wanted: Sequence[int | Path | None]) -> dict[Path, str]:
    """What the versions of an endpoint's files are called: numbers that no other version of it has."""
    taken = {found for found in wanted if isinstance(found, int)}
    free = (number for number in count(1) if number not in taken)
    return {path: str(next(free)) for path in dict.fromkeys(wanted) if isinstance(path, Path)}
