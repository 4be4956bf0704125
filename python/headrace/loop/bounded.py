"""What may not come back, asked in a thread, so that it does not stop the loop: triggers, and files on some mount."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, PluginError, StageTimeoutError
from headrace.hooks.triggers import Fired
from headrace.store.parts import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

    from headrace.hooks.triggers import Trigger, TriggerContext
    from headrace.loop.live import LiveSource
    from headrace.loop.workplace import Trained, Workshop

LIVE_ROWS, INPUT_FILES, SERVER = "live rows", "input files", "server"
"""What a problem may be of, besides a trigger."""
ELSEWHERE = frozenset({LIVE_ROWS, INPUT_FILES, SERVER})


def recordable(found: Any) -> Fired | None:
    """What a trigger's `check` gave, if the log can hold it. Raises `PluginError` that says what cannot be."""
    if found is None:
        return None
    if not isinstance(found, Fired):
        raise PluginError(f"`check` gave {type(found).__name__}, and may give headrace.Fired or None")
    if not isinstance(found.why, str):
        raise PluginError(f"`why` of what it gave is {type(found.why).__name__}, and is to be a text")
    try:
        canonical_json([found.why, dict(found.evidence)])
    except Exception as error:
        raise PluginError(f"`evidence` of what it gave is no JSON with finite numbers: {error}") from error
    if found.changed is not None:
        _aware(found.changed, "`changed` of what it gave")
    return found


def _aware(found: Any, what: str) -> dt.datetime:
    """A time in UTC."""
    if not isinstance(found, dt.datetime) or found.utcoffset() is None:
        raise PluginError(f"{what} is {found!r}, and is to be a time with a time zone")
    return found.astimezone(dt.UTC)


@dataclass
class _Ask:
    """Calls in a thread of its own; `StageTimeoutError` after `patience` seconds. While one hangs no other is made."""

    what: str = "it"
    place: str | None = None
    hanging: list[threading.Thread] = field(default_factory=list)

    def __call__(self, call: Callable[[], Any], patience: float) -> Any:
        self.hanging = [thread for thread in self.hanging if thread.is_alive()]
        if not self.hanging:
            answer: list[Any] = []
            raised: list[BaseException] = []

            def work() -> None:
                try:
                    answer.append(call())
                except BaseException as error:  # noqa: BLE001  # raised again in the thread that asked
                    raised.append(error)

            thread = threading.Thread(target=work, daemon=True, name=f"{self.place or 'trigger'} of the loop")
            thread.start()
            thread.join(patience)
            if raised and isinstance(raised[0], Exception):
                raise raised[0]
            if raised:
                raise RuntimeError(f"it tried to end the process: {type(raised[0]).__name__}") from raised[0]
            if answer:
                return answer[0]
            self.hanging = [thread]
        raise StageTimeoutError(f"{self.what} does not come back within {patience:g} s, and hangs", place=self.place)


@dataclass
class BoundedTrigger:
    """Answers as the trigger inside, or raises `StageTimeoutError` after `patience` seconds.

    While one call hangs no other is made. What a call gives that came back too late is lost; the next look asks again.
    """

    inner: Trigger
    patience: float
    _ask: _Ask = field(default_factory=_Ask)
    _astray: PluginError | None = None
    """What was wrong when it was last asked when it is due."""

    def check(self, ctx: TriggerContext) -> Fired | None:
        """See `Trigger.check`. Where nothing fired, what was wrong with `due` is raised: here it is recorded."""
        found: Fired | None = self._ask(lambda: self.inner.check(ctx), self.patience)
        if found is None and self._astray is not None:
            raise self._astray
        return found

    def due(self, since: dt.datetime) -> dt.datetime | None:
        """See `Trigger`; None where it has no `due`, does not come back, or gives what is no time."""
        due = getattr(self.inner, "due", None)
        if due is None:
            return None
        try:
            found = self._ask(lambda: due(since), self.patience)
            when = None if found is None else _aware(found, "what `due` gave")
        except StageTimeoutError:
            return None  # `check` says it
        except Exception as error:  # noqa: BLE001  # a stranger's code; `check` says what it raised
            said = error.message if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
            self._astray = PluginError(said if isinstance(error, PluginError) else f"`due` raised {said}")
            return None
        self._astray = None
        return when


@dataclass
class BoundedSource:
    """Live rows as the source inside gives them. Implements `LiveSource`.

    `StageTimeoutError` with the place "live rows" after `patience` seconds: files may lie on a mount that hangs. What
    was read by then is kept by the source, and the next look goes on from there.
    """

    inner: LiveSource
    patience: float
    _ask: _Ask = field(default_factory=lambda: _Ask("reading them", LIVE_ROWS))

    def stamp(self) -> str:
        """See `LiveSource.stamp`."""
        return str(self._ask(self.inner.stamp, self.patience))

    def frame(self, until: dt.datetime) -> pl.DataFrame:
        """See `LiveSource.frame`."""
        found: pl.DataFrame = self._ask(lambda: self.inner.frame(until), self.patience)
        return found


@dataclass
class BoundedWorkshop:
    """A workshop whose own input files are waited for no longer than `patience` seconds. Implements `Workshop`.

    How long a training may take its stages say.
    """

    inner: Workshop
    patience: float
    _ask: _Ask = field(default_factory=lambda: _Ask("reading them", INPUT_FILES))

    def base(self) -> pl.DataFrame:
        """See `Workshop.base`."""
        found: pl.DataFrame = self._ask(self.inner.base, self.patience)
        return found

    def inputs(self) -> str:
        """See `Workshop.inputs`."""
        return str(self._ask(self.inner.inputs, self.patience))

    def train(self, data: Path | None, *, why: str) -> Trained:
        """See `Workshop.train`."""
        return self.inner.train(data, why=why)
