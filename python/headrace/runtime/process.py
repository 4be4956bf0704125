"""Runs a stage in a worker process, which can be ended: for `timeout` and for `isolation = "process"`."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from headrace.errors import CancelledError, StageError, StageTimeoutError
from headrace.runtime.context import Emit, Event
from headrace.runtime.wire import revive_error
from headrace.types import ArtifactRef

if TYPE_CHECKING:
    import threading

    from headrace.runtime.call import StageCall
    from headrace.store import Store

_POLL_SECONDS = 0.1


def execute_in_process(
    call: StageCall, store: Store, emit: Emit, cancelled: threading.Event, *, timeout: float | None, worker: str
) -> dict[str, ArtifactRef]:
    """Run `call` in a fresh interpreter and return its outputs, already in the store. `worker` is the module to run.

    Raises what the stage raised; `StageTimeoutError` after `timeout` seconds; `StageError` when the process dies.
    """
    read_end, write_end = os.pipe()
    # A session of its own, so that the stage's children end with it, and Ctrl-C reaches only the runner.
    process = subprocess.Popen(  # noqa: S603  # our own interpreter, a fixed list of arguments
        [sys.executable, "-m", worker, str(write_end)],
        stdin=subprocess.PIPE,
        pass_fds=(write_end,),
        start_new_session=True,
    )
    os.close(write_end)
    deadline = time.monotonic() + timeout if timeout is not None else None
    request = {"call": asdict(call), "store": {"root": str(store.root), "url": store.url}}
    buffer = bytearray()
    try:
        assert process.stdin is not None  # noqa: S101  # Popen was given PIPE
        with contextlib.suppress(BrokenPipeError):  # it died at once; its exit status is reported below
            process.stdin.write(json.dumps(request).encode())
            process.stdin.close()
        with selectors.DefaultSelector() as selector:
            selector.register(read_end, selectors.EVENT_READ)
            while True:
                if cancelled.is_set():
                    raise CancelledError("the run is being stopped", place=f"stage {call.stage}")
                if deadline is not None and time.monotonic() > deadline:
                    raise StageTimeoutError(
                        f"ran longer than its timeout of {timeout:g} s and was ended",
                        place=f"stage {call.stage}",
                        hint="Raise `timeout`, or give the stage less to do.",
                    )
                if not selector.select(_POLL_SECONDS):
                    continue
                chunk = os.read(read_end, 1 << 16)
                if not chunk:
                    break
                buffer += chunk
                outcome = _consume(buffer, emit)
                if outcome is not None:
                    return outcome
        raise StageError(_death(process.wait()), place=f"stage {call.stage}", hint="Its own output is above.")
    finally:
        os.close(read_end)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _consume(buffer: bytearray, emit: Emit) -> dict[str, ArtifactRef] | None:
    while b"\n" in buffer:
        line, _, rest = bytes(buffer).partition(b"\n")
        buffer[:] = rest
        message = json.loads(line)
        if "event" in message:
            emit(Event(*message["event"]))
        elif "error" in message:
            raise revive_error(message["error"])
        else:
            return {name: ArtifactRef(**ref) for name, ref in message["result"].items()}
    return None


def _death(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        reason = " (perhaps for want of memory)" if -status == signal.SIGKILL else ""
        return f"its process was ended by {name}{reason}"
    return f"its process ended with status {status} before it gave a result"
