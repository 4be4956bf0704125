"""The rows of a run: the project's own, the labelled live ones, and the window that the policy wants of them."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

from headrace.errors import DataError
from headrace.loop.alike import alike
from headrace.loop.live import moments
from headrace.store.durable import explained, make_folder, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import polars as pl

    from headrace.loop.policy import Columns, LoopPolicy


def window_start(policy: LoopPolicy, now: dt.datetime) -> dt.datetime | None:
    """From when on rows are trained on; None: from the first."""
    if policy.window == "sliding" and policy.length is not None:
        return now - dt.timedelta(seconds=policy.length)
    return policy.since


def assemble(
    base: pl.DataFrame, labelled: pl.DataFrame, columns: Columns, start: dt.datetime | None, now: dt.datetime
) -> pl.DataFrame:
    """Base and labelled live rows with the base's columns, each identifier once, from `start`, in the order of time."""
    import polars as pl

    missing = [name for name in base.columns if name not in labelled.columns] if labelled.height else []
    if missing:
        raise DataError(
            f"the live rows have no column {missing[0]!r}, which the project's own rows have",
            place=f"column {missing[0]!r}",
            hint="Live rows need every column of the training rows; one whose value is not known may be null.",
        )
    parts = [base, alike(labelled, base, columns.id)] if labelled.height else [base]
    try:
        frame = pl.concat(parts, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"live rows and the project's own rows have no common types: {error}",
            place="live rows",
            hint="Give the live rows the types of the training rows.",
        ) from error
    if columns.id is not None and columns.id in frame.columns:
        named = frame[columns.id].is_not_null()
        once = frame.filter(named).unique(subset=columns.id, keep="last", maintain_order=True)
        frame = pl.concat([frame.filter(~named), once])
    when = moments(frame, columns.time)
    inside = when <= now
    if start is not None:
        inside &= when >= start
    return _sorted(frame.filter(inside), columns.time)


def by_day(labelled: pl.DataFrame, columns: Columns) -> dict[str, int]:
    """How many rows there are of each day in UTC."""
    days = moments(labelled, columns.time).dt.strftime("%Y-%m-%d").value_counts().sort(columns.time)
    return dict(days.iter_rows())


def came_in(now: Mapping[str, int], before: Mapping[str, Any]) -> int:
    """How many labelled rows are new since the decision whose data `before` is.

    Day by day: rows of old days may be gone since, and those that came in are no fewer for it.
    """
    if "days" not in before:
        return max(sum(now.values()) - int(before.get("labelled", 0)), 0)
    return sum(max(count - int(before["days"].get(day, 0)), 0) for day, count in now.items())


def _sorted(frame: pl.DataFrame, time: str) -> pl.DataFrame:
    return frame.with_columns(moments(frame, time).alias("__when")).sort("__when", maintain_order=True).drop("__when")


def keep(frame: pl.DataFrame, folder: Path) -> tuple[str, int]:
    """Write the rows as Parquet into `folder`, named by their SHA-256; returns it. The same rows are the same file."""
    import io

    buffer: Any = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False)
    data: bytes = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    path = kept(folder, digest)
    with explained(folder, "keep the rows of a run"):
        make_folder(folder.parent)
        make_folder(folder)
        if not path.exists():
            replace_file(path, data)
    return digest, len(data)


def kept(folder: Path, digest: str) -> Path:
    """Where `keep` put the rows."""
    return folder / f"{digest}.parquet"


def found_again(folder: Path, digest: str) -> Path:
    """Where the rows of a decision are; in the folder above where that was decided when all loops kept theirs there."""
    path, before = kept(folder, digest), kept(folder.parent, digest)
    return before if not path.exists() and before.exists() else path


def sweep(folder: Path, needed: str | None, still_mine: Callable[[], object]) -> None:
    """Remove the rows of runs that are over, all but those of the digest `needed`.

    The store has what a run read as an artifact, which `headrace reproduce` goes by. `still_mine` is asked between
    looking and removing, so that one that was overtaken does not remove what another has just kept.
    """
    over = [path for path in folder.glob("*.parquet") if path.stem != needed]
    if over:
        still_mine()
    for path in over:
        with explained(path, "remove the rows of a run that is over"):
            path.unlink(missing_ok=True)
