"""Labels that come in after the predictions: what one is, and `Keeping`, which stores those that a server is sent."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import DataError
from headrace.store.live import Label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.serving.logged import Logged
    from headrace.serving.server import Server
    from headrace.store import Store

SHOWN = 20
"""Unknown ids that are named."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table of labels. `row` and `time` may be missing."""

    id: str = "request_id"
    label: str = "label"
    row: str | None = None
    time: str | None = None

    @property
    def names(self) -> list[str]:
        """Those that there are, each once."""
        named = [self.id, self.label, self.row, self.time]
        return list(dict.fromkeys(name for name in named if name is not None))


def read(row: Mapping[str, Any], columns: Columns, place: str) -> Label | None:
    """A label out of a row of a table; None where there is none yet. Raises `DataError` that names `place`.

    The id is the request's, `ID` or, for another row than the first of a request, `ID/ROW`; or `ID` and the column
    `row`.
    """
    label = row[columns.label]
    if label is None or label != label:  # noqa: PLR0124  # NaN
        return None
    identity = row[columns.id]
    if identity is None or identity == "":
        raise DataError("there is no id", place=f"{place}, column {columns.id!r}", hint="A label needs a request's id.")
    name, number = str(identity), 0
    if columns.row is not None:
        found = row[columns.row]
        if not isinstance(found, int) or found < 0:
            raise DataError(
                f"{found!r} is no number of a row", place=f"{place}, column {columns.row!r}", hint="Count from 0."
            )
        number = found
    else:
        head, slash, tail = name.rpartition("/")
        if slash and head and tail.isascii() and tail.isdigit() and len(tail) < 10:
            name, number = head, int(tail)
    known = None if columns.time is None else _seconds(row[columns.time], f"{place}, column {columns.time!r}")
    return Label(name, number, _json(label), known)


def _seconds(value: Any, place: str) -> float:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise DataError(f"{value!r} is no time", place=place, hint="As text, 2024-01-31T05:00:00Z.") from error
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC).timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise DataError(f"{value!r} is no time", place=place, hint="A date, a datetime (UTC without a zone), or seconds.")


def _json(value: Any) -> str:
    return json.dumps(value if isinstance(value, bool | int | float | str) else str(value))


class Keeping:
    """Stores the labels that a server is sent, in a thread of its own, and tells each client when its own are stored.

    Labels mean what they mean in a file of `headrace feedback`. A store that is gone or cannot be written refuses
    labels, 503, and costs no prediction.

    Parameters
    ----------
    server
        Who is sent labels, at `/feedback`.
    open_store
        Opens the store; it is closed again each time, so that it may come and go.
    logged
        The server's prediction log; None where there is none, and all ids are taken as they come.
    say
        Takes what a person must hear: that labels cannot be stored, once until they can.

    """

    def __init__(
        self, server: Server, open_store: Callable[[], Store], logged: Logged | None, *, say: Callable[[str], None]
    ) -> None:
        self._server = server
        self._open_store = open_store
        self._logged = logged
        self._say = say
        self._failing = False
        self._blind = False
        self._thread = threading.Thread(target=self._run, name="headrace-labels", daemon=True)

    def start(self) -> None:
        """Begin to take labels."""
        self._server.keep_labels()
        self._thread.start()

    def stop(self) -> None:
        """Wait for the thread, which ends when the server has ended."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (requests := self._server.labels()) is not None:
            try:
                with self._open_store() as store:
                    for number, document in requests:
                        self._keep(store, number, document)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said, and the next labels are taken
                if not self._failing:
                    self._say(f"labels cannot be stored: {error}; they are refused until they can")
                self._failing = True
                for number, _ in requests:
                    # Those that were stored have been told so.
                    self._server.refuse_labels(number, "labels cannot be stored now; try again")
            else:
                self._failing = False

    def _keep(self, store: Store, number: int, document: str) -> None:
        rows: list[dict[str, Any]] = json.loads(document)
        labels = []
        try:
            for position, row in enumerate(rows):
                optional = {name: name if row[name] is not None else None for name in ("row", "time")}
                if label := read(row, Columns("id", "label", **optional), f"label {position}"):
                    labels.append(label)
        except DataError as error:
            said = " ".join(line.strip() for line in str(error).splitlines())
            self._server.refuse_labels(number, said, wrong=True)
            return
        unknown = self._unknown(labels)
        told = store.live.tell(hashlib.sha256(document.encode()).hexdigest(), labels)
        self._server.confirm_labels(
            number,
            {"labels": told, "empty": len(rows) - len(labels), **told_unknown(unknown)},
            stored=told or 0,
            unknown=len(unknown) if told else 0,
        )

    def _unknown(self, labels: Sequence[Label]) -> list[Label]:
        if self._logged is None:
            return []
        # First what is not written yet: in between it may be written, but not the other way round.
        waiting = self._server.waits_for_log([(one.request_id, one.row) for one in labels])
        try:
            missing = self._logged.missing([one for one, waits in zip(labels, waiting, strict=True) if not waits])
        except DataError as error:
            # A log that cannot be read is no reason to lose labels.
            if not self._blind:
                self._say(f"{error}; nobody says which labels are for rows that are not in it")
            self._blind = True
            return []
        self._blind = False
        return missing


def told_unknown(unknown: Sequence[Label]) -> dict[str, Any]:
    """How many labels are for rows that are not in the log, and the ids of some."""
    ids = dict.fromkeys(f"{one.request_id}/{one.row}" if one.row else one.request_id for one in unknown)
    return {"unknown": len(unknown), "unknown_ids": list(ids)[:SHOWN]}
