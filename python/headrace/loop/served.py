"""Live rows from the prediction log of `headrace serve`, with the labels that came back into the store."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

from headrace.errors import DataError
from headrace.loop.alike import as_moments_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

    from headrace.loop.policy import Columns
    from headrace.store.live import Live

_KEY = ("request_id", "row")
_LABEL = "__label"


class ServedRows:
    """Implements `headrace.loop.live.LiveSource`.

    A row has the columns of the project's own rows (`like` gives them): those that were sent, the time of the answer,
    the request's id, `ID/ROW`, where the identifier is text, and the label that counted by then. What was not sent is
    null. A request that is in the log twice counts once, the last time.
    """

    def __init__(
        self, folder: Path, labels: Live, *, model: str, columns: Columns, like: Callable[[], pl.DataFrame]
    ) -> None:
        self._folder = folder
        self._labels = labels
        self._model = model
        self._columns = columns
        self._like = like

    def stamp(self) -> str:
        """Which segments there are, which never change, and how many labels, of which there are only ever more."""
        names = [path.name for path in self._segments()]
        return hashlib.sha256(repr((names, len(self._labels.labels(history=True)))).encode()).hexdigest()[:16]

    def frame(self, until: dt.datetime) -> pl.DataFrame:
        """See `LiveSource.frame`."""
        import polars as pl

        like = self._like()
        parts = [self._rows(path, like) for path in self._segments()]
        target = self._columns.target
        if not parts:
            return like.clear()
        frame = pl.concat(parts, how="vertical").filter(pl.col("__at") <= until).sort("__at", maintain_order=True)
        frame = frame.unique(subset=list(_KEY), keep="last", maintain_order=True)
        labels = self._known(until.timestamp(), like.schema[target])
        frame = frame.join(labels, on=list(_KEY), how="left", maintain_order="left")
        return frame.with_columns(pl.col(_LABEL).alias(target)).select(like.columns)

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("*.arrow"))

    def _rows(self, path: Path, like: pl.DataFrame) -> pl.DataFrame:
        """A segment as rows of the project, with the request they belong to."""
        import polars as pl

        try:
            log = pl.read_ipc(path, columns=[*_KEY, "time", "model", "inputs"])
            log = log.filter(pl.col("model") == self._model)
            inputs = log["inputs"].struct.unnest()
            columns = [self._column(name, dtype, log, inputs) for name, dtype in like.schema.items()]
            keys = [log["request_id"], log["row"].cast(pl.Int64), log["time"].alias("__at")]
            return pl.DataFrame([*keys, *columns])
        except FileNotFoundError:  # the server has removed it to make room
            return pl.DataFrame(schema={"request_id": pl.String, "row": pl.Int64, "__at": _utc(), **like.schema})
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"the prediction log cannot be read as rows of this project: {error}",
                place=str(path),
                hint="Move the file away if it is damaged, or if the columns of the project have changed since.",
            ) from error

    def _column(self, name: str, dtype: Any, log: pl.DataFrame, inputs: pl.DataFrame) -> pl.Series:
        import polars as pl

        if name == self._columns.time:
            return as_moments_of(log["time"], dtype).alias(name)
        if name == self._columns.id and dtype == pl.String:
            return log.select(pl.format("{}/{}", "request_id", "row").alias(name)).to_series()
        if name in inputs.columns and name != self._columns.target:
            return inputs[name].cast(dtype)
        return pl.Series(name, [None] * log.height, dtype=dtype)

    def _known(self, until: float, dtype: Any) -> pl.DataFrame:
        """The label of each row that counted by a time. One that the target cannot have is as if it had not come."""
        import polars as pl

        last: dict[tuple[str, int], Any] = {}
        for label in self._labels.labels(history=True):
            if label.known is None or label.known <= until:
                value = json.loads(label.label)
                found = None if value is None else _as_label(value, dtype)
                if value is None or found is not None:
                    last[label.request_id, label.row] = found
        values = pl.Series(_LABEL, list(last.values()), dtype=None if last else dtype, strict=False).cast(
            dtype, strict=False
        )
        names = pl.Series("request_id", [name for name, _ in last], dtype=pl.String)
        return pl.DataFrame([names, pl.Series("row", [row for _, row in last], dtype=pl.Int64), values])


def _utc() -> Any:
    import polars as pl

    return pl.Datetime("us", "UTC")


def _as_label(value: Any, dtype: Any) -> Any:
    """A label as the target has it, whatever a file made of it: 1, 1.0 and "1" are one. None: it is no such value."""
    import polars as pl

    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if dtype == pl.Boolean:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
    if not dtype.is_numeric():
        return text
    try:
        number = float({"true": "1", "false": "0"}.get(text.lower(), text))
    except ValueError:
        return None
    if not math.isfinite(number) or (dtype.is_integer() and not number.is_integer()):
        return None
    return int(number) if dtype.is_integer() else number
