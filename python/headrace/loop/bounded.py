"""A stranger's trigger, asked in a thread, so that one that hangs does not stop the loop."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import StageTimeoutError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from headrace.hooks.triggers import Fired, Trigger, TriggerContext


@dataclass
class BoundedTrigger:
    """Answers as the trigger inside, or raises `StageTimeoutError` after `patience` seconds.

    While one call hangs no other is made. What a call gives that came back too late is lost; the next look asks again.
    """

    inner: Trigger
    patience: float
    _hanging: list[threading.Thread] = field(default_factory=list)

    def check(self, ctx: TriggerContext) -> Fired | None:
        """See `Trigger.check`."""
        found: Fired | None = self._within(lambda: self.inner.check(ctx))
        return found

    def due(self, since: dt.datetime) -> dt.datetime | None:
        """See `Trigger`; None where it has no `due`, or does not come back."""
        due = getattr(self.inner, "due", None)
        if due is None:
            return None
        try:
            found: dt.datetime | None = self._within(lambda: due(since))
        except StageTimeoutError:
            return None  # `check` says it
        return found

    def _within(self, call: Callable[[], Any]) -> Any:
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if not self._hanging:
            answer: list[Any] = []
            raised: list[BaseException] = []

            def work() -> None:
                try:
                    answer.append(call())
                except BaseException as error:  # noqa: BLE001  # raised again in the thread that asked
                    raised.append(error)

            thread = threading.Thread(target=work, daemon=True, name="trigger of the loop")
            thread.start()
            thread.join(self.patience)
            if raised and isinstance(raised[0], Exception):
                raise raised[0]
            if raised:
                raise RuntimeError(f"it tried to end the process: {type(raised[0]).__name__}") from raised[0]
            if answer:
                return answer[0]
            self._hanging = [thread]
        raise StageTimeoutError(f"it does not come back within {self.patience:g} s, and hangs")
