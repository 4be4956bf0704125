"""`Logged`: which rows a prediction log has, without what was predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace.store.live import Label


class Logged:
    """The rows of the segments in a folder, by the request's name and the row's number, as 64 bits a row.

    Segments never change, so each is read once, when somebody asks; those that are gone are forgotten.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segments: dict[str, npt.NDArray[np.uint64]] = {}

    def missing(self, labels: Sequence[Label]) -> list[Label]:
        """Labels of rows that are in no segment now: never logged, removed to make room, or another server's."""
        import numpy as np
        import polars as pl

        rows = {"request_id": [one.request_id for one in labels], "row": [one.row for one in labels]}
        sought = _hashed(pl.DataFrame(rows, schema={"request_id": pl.String, "row": pl.Int64}))
        absent = np.ones(len(labels), dtype=bool)
        there = {path.name: path for path in self._folder.glob("*.arrow")}
        self._segments = {name: segment for name, segment in self._segments.items() if name in there}
        for name in sorted(there, reverse=True):
            if not absent.any():
                break
            if name not in self._segments:
                try:
                    frame = pl.read_ipc(there[name], columns=["request_id", "row"])
                except FileNotFoundError:  # the server has removed it to make room
                    continue
                except (OSError, pl.exceptions.PolarsError) as error:
                    raise DataError(
                        f"no segment of a prediction log: {error}", place=str(there[name]), hint="Move it away."
                    ) from error
                self._segments[name] = np.sort(_hashed(frame))
            segment = self._segments[name]
            places = np.searchsorted(segment, sought).clip(max=max(len(segment) - 1, 0))
            absent &= segment[places] != sought if len(segment) else True
        return [one for one, gone in zip(labels, absent.tolist(), strict=True) if gone]


def _hashed(frame: pl.DataFrame) -> npt.NDArray[np.uint64]:
    import polars as pl

    rows = frame.select(pl.col("request_id").cast(pl.String), pl.col("row").cast(pl.Int64))
    hashed: npt.NDArray[np.uint64] = rows.hash_rows(seed=0).to_numpy()
    return hashed
