"""Ctrl-C and SIGTERM while a run works: the first asks it to stop, the second ends the process."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.cli.failure import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_ASKED = b"\nstopping; what has ended is kept. Once more to leave at once.\n"
_LEAVING = b"\nleft at once; the run will be shown as crashed, and the next one goes on from what had ended.\n"


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Within, the first signal sets the event and raises `KeyboardInterrupt`; the second leaves with code 130."""
    asked = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        # os.write, because the main thread may be in the middle of a write to the same stream.
        if asked.is_set():
            os.write(2, _LEAVING)
            os._exit(INTERRUPTED)
        asked.set()
        os.write(2, _ASKED)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    # Under nohup a signal is ignored on purpose; it stays so.
    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
