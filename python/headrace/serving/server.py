"""`Server`: a model behind HTTP, in threads of the core, as long as the object lives."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

from headrace.errors import NotFoundError, ServingError

if TYPE_CHECKING:
    from types import TracebackType

    from headrace.types import PackageView

_ANSWER_WITHIN = 25.0
"""Seconds; platforms end a process 30 s after they have asked it to stop."""


class Server:
    """Answers requests for predictions over HTTP, from when it is made until it is stopped.

    It runs in threads of its own, outside the interpreter: Python may do whatever it likes meanwhile. A child of
    `os.fork` does not have it, and must leave by `os._exit`, as those of multiprocessing do: ONNX Runtime would wait at
    the exit for threads that the child has not.

    Parameters
    ----------
    model
        A model package (as `Project.registry.resolve` gives it): raw columns in, `prediction` and `probability_<class>`
        out, after its golden rows were replayed. Or the path of an ONNX file: its own inputs in, its own outputs out.
    name
        What the model of an ONNX file is called in routes. Default: the file's name without its extension.
    host
        An address of the loopback. Others are refused: there are no tokens yet, and anybody could ask.
    port
        0: any that is free; see the attribute.
    workers
        Threads, each with a copy of the model. Default: as many as there are processors.
    max_batch_rows
        Rows that are computed together, at most, when several requests wait. 1: each request by itself.
    max_queue_rows, max_queue_bytes
        What may wait for a worker. What comes on top is refused with 503 and `Retry-After`.
    max_rows, max_body_bytes
        Of one request; 413.
    max_connections
        Connections that are open at once; others wait until one ends.
    deadline
        Seconds that a request may wait for its answer; 504. A client may ask for less.
    body_timeout
        Seconds that a body may take to arrive; 408.

    Attributes
    ----------
    url, host, port
        Where it listens.
    model, version
        What it serves, as routes name it.

    Raises
    ------
    ModelFormatError
        The model or a part of the package is damaged, cannot be served, or does not give what its golden rows say.
    ServingError
        The port is in use, the host is not of the loopback, ONNX Runtime is missing or older than 1.23, or the package
        has columns that only Python can compute.
    NotFoundError
        There is no such file.

    """

    def __init__(
        self,
        model: PackageView | str | os.PathLike[str],
        *,
        name: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        workers: int | None = None,
        max_batch_rows: int = 1024,
        max_queue_rows: int = 65_536,
        max_queue_bytes: int = 256 * 1024 * 1024,
        max_rows: int = 10_000,
        max_body_bytes: int = 8 * 1024 * 1024,
        max_connections: int = 4096,
        deadline: float = 10.0,
        body_timeout: float = 30.0,
    ) -> None:
        from headrace.compute import serving

        if not 0 <= port <= 65_535:
            raise ServingError(f"port is {port}, expected 0 to 65535", place="port")
        options = {
            "host": host,
            "port": port,
            "workers": _processors() if workers is None else workers,
            "max_batch_rows": max_batch_rows,
            "max_queue_rows": max_queue_rows,
            "max_queue_bytes": max_queue_bytes,
            "max_rows": max_rows,
            "max_body_bytes": max_body_bytes,
            "max_connections": max_connections,
            "deadline": deadline,
            "body_timeout": body_timeout,
        }
        if isinstance(model, str | os.PathLike):
            path = Path(model)
            self.model, self.version = path.stem if name is None else name, "1"
            if not self.model.isprintable():
                hint = "Give another name."
                raise ServingError(f"{self.model!r} cannot stand in a route", place="name", hint=hint)
            onnx = _read(path)
            self._core = serving.start_graph(onnx, name=self.model, version=self.version, options=options)
        else:
            self.model, self.version = model.version.name, str(model.version.number)
            self._core = serving.start_package(model, options=options)
        # Also at the end of the interpreter, before the threads would lose what they stand on.
        self._end = weakref.finalize(self, self._core.stop, 0.0)

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._core.host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._core.port

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:8080`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def batched(self) -> bool:
        """Whether requests that wait are computed together: not where rows depend on each other, or on their number."""
        return self._core.batched

    def stop(self, *, patience: float = _ANSWER_WITHIN) -> None:
        """Take no more connections, answer what was asked, and end. A second time does nothing.

        After `patience` seconds what is still unanswered is dropped.
        """
        self._core.stop(patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Server({self.model}@{self.version} on {self.url})"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError("there is no such file", place=str(path), hint="Give the path of an ONNX file.") from error
    except OSError as error:
        raise ServingError(f"the model cannot be read: {error.strerror}", place=str(path)) from error


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
