"""`Server`: models behind HTTP, in threads of the core, as long as the object lives."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from headrace.errors import HeadraceError, ModelFormatError, NotFoundError, ServingError
from headrace.serving.signature import lacking, refuse_mixed
from headrace.serving.window import LiveWindow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from headrace.compute.serving import ServedVersion
    from headrace.types import PackageView

_ANSWER_WITHIN = 25.0
"""Seconds; platforms end a process 30 s after they have asked it to stop."""


KEY = "headrace-key"
"""The header whose value decides which version somebody gets."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A version that a server has ready: checked, its golden rows replayed, warmed up.

    It is there as long as this object is kept or it is routed to, and nobody is sent to it before.

    Attributes
    ----------
    model, version
        As answers name it: `headrace-version: model@version`.
    core
        The same in the core.

    """

    model: str
    version: str
    core: ServedVersion = field(repr=False)

    @property
    def batched(self) -> bool:
        """Whether requests that wait are computed together: not where rows depend on each other, or on their number."""
        return self.core.batched

    @property
    def engine(self) -> str:
        """What computes: `onnxruntime`, or `trees`, which walks a graph that is one tree ensemble without it."""
        return self.core.engine

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


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
        Or a list of them, of different names: routes that name no model, such as `/invocations`, lead to the first.
        With an empty list clients are let in by `open`.
    name
        What the model of an ONNX file is called in routes. Default: the file's name without its extension.
    host
        An address of this machine, or `localhost`. Any but those of the loopback is refused without `tokens`.
    port
        0: any that is free; see the attribute.
    workers
        Threads, each with a copy of the model. Default: as many as there are processors.
    max_batch_rows
        Rows that are computed together, at most, when several requests wait. How many are worth it is measured when a
        model is loaded and by every batch. 1: each request by itself.
    max_batch_delay
        Seconds that a request waits for others, as long as fewer wait than are best computed together, and a quarter of
        its deadline at most. 0: a request that is alone is computed at once.
    max_queue_rows, max_queue_bytes
        What may wait for a worker. What comes on top is refused with 503 and `Retry-After`.
    max_queue_time
        Seconds that what waits may take to be computed, by the pace measured, before more is refused in the same way;
        half of a request's deadline if that is less. One request a worker may always wait as long as its deadline lets.
    max_rows, max_body_bytes
        Of one request; 413.
    max_bulk_rows, max_bulk_bytes
        Of one request that is an Arrow IPC stream; 413.
    max_connections
        Connections that are open at once; others wait until one ends.
    deadline
        Seconds that a request may wait for its answer; 504. A client may ask for less: by the header
        `headrace-deadline` (seconds), gRPC's own deadline, or the parameter `timeout` of protocol v2 (microseconds).
    body_timeout
        Seconds that a body may take to arrive; 408.
    head_timeout
        Seconds that a request's head may take to arrive, and that a connection may be idle; it is closed then. HTTP/2
        connections on which nothing but pings arrives are idle.
    answer_timeout
        Seconds that a client may take before it reads an answer. Each 16 KiB that it reads give it one more.
    max_held_bytes
        Bytes of bodies and of large answers that are held at once, over all connections. What comes on top is refused
        with 503 and `Retry-After`.
    engine
        What computes. `auto`: a graph that is one tree ensemble is walked without ONNX Runtime if, while it is loaded,
        that gives the same for rows that are hard to decide and takes less time; `trees`: it is, or the model is
        refused; `onnxruntime`: it is not.
    tokens
        The file of `headrace tokens`: who asks must show one of those that stand there, on the loopback as well
        (`Authorization: Bearer`; health is open). It is read again as it changes. Tokens travel as they are: outside of
        the machine let a proxy speak TLS.
    paths
        Paths that a platform names, beside those that there are: `live` or `ready` for a GET, `predict` for a POST of
        what `/invocations` takes, to the first model.
    window
        Seconds of a live window: every row that is predicted is counted on the bins of the reference profile in its
        package. Windows begin at multiples of it since 1970 in UTC. None: nothing is counted.
    log
        A folder in which predictions are logged, as Arrow IPC files that are whole as soon as they are there. It is
        made if need be. Several servers may share it.
    log_sample
        The share of requests that are logged, 0 to 1. Which ones follows from their ids, for all servers alike.
    log_segment_bytes, log_segment_time
        Bytes and seconds after which a file of the log is written; what was not is lost if the process is killed.
    log_total_bytes
        Bytes of all files in the log's folder; the oldest are removed.

    Attributes
    ----------
    url, host, port
        Where it listens.
    model, version
        What it serves first, as routes name it.

    Raises
    ------
    ModelFormatError
        The model or a part of the package is damaged, cannot be served, or does not give what its golden rows say.
    ServingError
        The port is in use, the host is not of the loopback and there are no tokens, no token is valid, ONNX Runtime is
        missing or older than 1.23, or the package has columns that only Python can compute.
    NotFoundError
        There is no such file.

    """

    def __init__(
        self,
        model: PackageView | str | os.PathLike[str] | Sequence[PackageView | str | os.PathLike[str]],
        *,
        name: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        workers: int | None = None,
        max_batch_rows: int = 1024,
        max_batch_delay: float = 0.0,
        max_queue_rows: int = 65_536,
        max_queue_bytes: int = 256 * 1024 * 1024,
        max_queue_time: float = 1.0,
        max_rows: int = 10_000,
        max_body_bytes: int = 8 * 1024 * 1024,
        max_bulk_rows: int = 1_000_000,
        max_bulk_bytes: int = 128 * 1024 * 1024,
        max_connections: int = 4096,
        deadline: float = 10.0,
        body_timeout: float = 30.0,
        head_timeout: float = 30.0,
        answer_timeout: float = 30.0,
        max_held_bytes: int = 512 * 1024 * 1024,
        engine: str = "auto",
        tokens: str | os.PathLike[str] | None = None,
        paths: Mapping[str, str] | None = None,
        window: float | None = 3600.0,
        log: str | os.PathLike[str] | None = None,
        log_sample: float = 1.0,
        log_segment_bytes: int = 16 * 1024 * 1024,
        log_segment_time: float = 60.0,
        log_total_bytes: int = 1024 * 1024 * 1024,
    ) -> None:
        from headrace.compute import serving

        if not 0 <= port <= 65_535:
            raise ServingError(f"port is {port}, expected 0 to 65535", place="port")
        options = {
            "host": host,
            "port": port,
            "workers": _processors() if workers is None else workers,
            "max_batch_rows": max_batch_rows,
            "max_batch_delay": max_batch_delay,
            "max_queue_rows": max_queue_rows,
            "max_queue_bytes": max_queue_bytes,
            "max_queue_time": max_queue_time,
            "max_rows": max_rows,
            "max_body_bytes": max_body_bytes,
            "max_bulk_rows": max_bulk_rows,
            "max_bulk_bytes": max_bulk_bytes,
            "max_connections": max_connections,
            "deadline": deadline,
            "body_timeout": body_timeout,
            "head_timeout": head_timeout,
            "answer_timeout": answer_timeout,
            "max_held_bytes": max_held_bytes,
            "engine": engine,
            "tokens": None if tokens is None else os.fspath(tokens),
            "paths": list((paths or {}).items()),
            "window": window,
            **_log_options(log, log_sample, log_segment_bytes, log_segment_time, log_total_bytes),
        }
        models = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
        if name is not None and len(models) > 1:
            raise ServingError(f"there are {len(models)} models and one name", place="name", hint="Leave it out.")
        self._routes: dict[str, dict[Loaded, int]] = {}
        self._files: dict[str, dict[bytes, int]] = {}
        self._changing = threading.Lock()
        self._core = serving.start(options)
        # Also at the end of the interpreter, before the threads would lose what they stand on.
        self._end = weakref.finalize(self, self._core.stop, 0.0)
        try:
            for one in models:
                self._add(self.load(one, name=name))
        except BaseException:
            self._core.stop(0.0)
            raise
        if models:
            self.open()

    def open(self) -> None:
        """Let clients in, where no model was given at first. A second time does nothing."""
        if not self._routes:
            raise ServingError("nothing is served yet", place="model", hint="Call `swap` or `route` first.")
        self._core.open()

    def follows(self, *, reachable: bool) -> None:
        """Say in `/metrics` whether the registry that somebody follows for this server can be read."""
        self._core.follows(reachable)

    def _add(self, loaded: Loaded) -> None:
        if loaded.model in self._routes:
            raise ServingError(f"there are two models of the name {loaded.model!r}", place="model")
        self.route(loaded.model, {loaded: 1})

    def load(
        self, model: PackageView | str | os.PathLike[str], *, name: str | None = None, version: str | None = None
    ) -> Loaded:
        """Get a version ready beside what is served: check it, replay its golden rows, warm it up.

        `version`: the number of a file's version; by itself those of one name are 1, 2, 3 as they are loaded, and the
        same bytes again are the same version. What is served is as it was, whether this succeeds or fails. Raises what
        making a server raises.
        """
        try:
            return self._load(model, name, version)
        except HeadraceError:
            self._core.refused()
            raise

    def _load(self, model: PackageView | str | os.PathLike[str], name: str | None, number: str | None) -> Loaded:
        from headrace.compute import serving

        if not isinstance(model, str | os.PathLike):
            version = model.version
            return Loaded(version.name, str(version.number), serving.load_package(self._core, model))
        path = Path(model)
        name = path.stem if name is None else name
        if not name.isprintable():
            raise ServingError(f"{name!r} cannot stand in a route", place="name", hint="Give another name.")
        onnx = _read(path)
        if number is None:
            with self._changing:
                known = self._files.setdefault(name, {})
                number = str(known.setdefault(hashlib.sha256(onnx).digest(), len(known) + 1))
        try:
            return Loaded(name, number, serving.load_graph(self._core, onnx, name=name, version=number))
        except ModelFormatError as error:
            # In a package it is called model.onnx, here as its owner calls it.
            raise ModelFormatError(error.message, place=str(path), hint=error.hint) from error

    def route(
        self,
        endpoint: str,
        versions: Mapping[Loaded, int],
        *,
        shadows: Sequence[Loaded] = (),
        key: str = KEY,
    ) -> None:
        """Send who asks for `endpoint` to these versions from now on; requests that are there stay where they are.

        Parameters
        ----------
        endpoint
            A name in routes; it is added if there is none of that name.
        versions
            How many of the requests each version gets, against the others. 0: those only that name it in their path.
        shadows
            Versions that compute the same requests after the answer has left, when nothing else waits; what they give
            is compared with the answers (`headrace_shadow_*` in `/metrics`). Who cannot keep up misses some.
        key
            The header that decides who gets which version: the same for the same value, as long as the weights are the
            same. When a weight grows, nobody moves away from that version. Requests without it are dealt in turn.

        Raises
        ------
        ServingError
            Two versions have the same number, or take other inputs: who asks does not know which answers.

        """
        if not endpoint.isprintable() or not endpoint:
            raise ServingError(f"{endpoint!r} cannot stand in a route", place="endpoint", hint="Give another name.")
        for version, weight in versions.items():
            if not 0 <= weight < 2**32:
                raise ServingError(f"the weight of {version} is {weight}, expected 0 to 4294967295", place="weight")
        refuse_mixed(endpoint, list(versions), shadows)
        with self._changing:
            shares = [(version.core, weight) for version, weight in versions.items()]
            tried = [version.core for version in shadows]
            self._core.offer(endpoint=endpoint, versions=shares, shadows=tried, key=key)
            self._routes[endpoint] = dict(versions)

    def swap(
        self,
        model: PackageView | str | os.PathLike[str],
        *,
        endpoint: str | None = None,
        other_inputs: bool = False,
    ) -> Loaded:
        """Load a version and send everybody to it who asks for `endpoint`.

        Default: the endpoint of the model's name, or else the only one that there is. With `other_inputs` the version
        may take inputs that the requests until now do not have. What was served before answers the requests that it
        has, and ends.

        Raises
        ------
        ServingError
            There are several endpoints and none of the model's name, or requests that were right until now would be
            refused. Besides, what making a server raises. Nothing has changed then.

        """
        loaded = self.load(model)
        with self._changing:
            names = list(self._routes)
            if endpoint is None:
                endpoint = loaded.model if loaded.model in names or not names else names[0]
                if loaded.model not in names and len(names) > 1:
                    raise ServingError(
                        f"no endpoint is called {loaded.model!r}; there are {', '.join(map(repr, names))}",
                        place="endpoint",
                        hint="Say which one is meant, by `endpoint=`, or add one by `route`.",
                    )
            before = list(self._routes.get(endpoint, ()))
        for one in [] if other_inputs else before:
            if lack := lacking(one, loaded):
                raise ServingError(
                    f"{loaded} {lack}, which {one} did not: requests that {endpoint!r} gets would be refused",
                    place=endpoint,
                    hint="Give other_inputs=True if clients are ready for it, or add an endpoint by `route`.",
                )
        self.route(endpoint, {loaded: 1})
        return loaded

    @property
    def routes(self) -> dict[str, dict[str, int]]:
        """The versions behind each endpoint, `model@version`, and their weights."""
        with self._changing:
            return {name: {str(one): weight for one, weight in of.items()} for name, of in self._routes.items()}

    @property
    def model(self) -> str:
        """The first endpoint, which routes without a name lead to."""
        return next(iter(self._routes))

    @property
    def version(self) -> str:
        """The version that gets most requests of the first endpoint."""
        return self._first.version

    @property
    def _first(self) -> Loaded:
        versions = self._routes[self.model]
        return max(versions, key=versions.__getitem__)

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._core.host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._core.port

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:8080`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def batched(self) -> bool:
        """Whether requests that wait are computed together: not where rows depend on each other, or on their number.

        That of the version that `version` names.
        """
        return self._first.batched

    @property
    def engine(self) -> str:
        """What computes: `onnxruntime`, or `trees`, which walks a graph that is one tree ensemble without it.

        The latter where it gave the same for rows that are hard to decide, and was faster, when the model was loaded.
        """
        return self._first.engine

    @property
    def instance(self) -> str:
        """What this server is called among others: another name at each start."""
        return self._core.instance

    def windows(self, *, current: bool = True) -> list[LiveWindow]:
        """Live windows that were counted since they were last asked for: each row is in one of them, once.

        With `current` those of periods that are not over are among them, so a period may come in several parts, which
        add up. After `stop` what is left is given.
        """
        return [LiveWindow(server=self.instance, **window) for window in self._core.windows(current)]

    def trouble(self) -> str | None:
        """What went wrong with counting and logging since it was last asked; predictions go on."""
        return self._core.trouble()

    def publish(self, text: str) -> None:
        """More for `/metrics` to say, in Prometheus's text format, instead of what was published before."""
        self._core.publish(text)

    def keep_labels(self) -> None:
        """Take labels at `/feedback` from now on, for whoever asks for `labels`; before, they are refused."""
        self._core.keep_labels()

    def labels(self) -> list[tuple[int, str]] | None:
        """Wait for labels that clients send: of each request its number, and a list of labels as JSON. None at the end.

        Each is answered by `confirm_labels` or `refuse_labels`; until then its client waits, as long as the deadline.
        """
        return self._core.labels()

    def confirm_labels(self, number: int, document: Mapping[str, Any], *, stored: int, unknown: int) -> None:
        """Tell who sent labels that they are stored, and count them and those of rows that nobody knows."""
        self._core.labels_kept(number, json.dumps(document), stored, unknown)

    def refuse_labels(self, number: int, reason: str, *, wrong: bool = False) -> None:
        """Tell who sent labels that none is stored: because one is `wrong`, or else because they cannot be now."""
        self._core.labels_refused(number, reason, wrong)

    def waits_for_log(self, rows: Sequence[tuple[str, int]]) -> list[bool]:
        """Of rows, each by the id of its request and its number, whether it is still to be written to the log."""
        return self._core.waits_for_log(list(rows))

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


def _log_options(
    folder: str | os.PathLike[str] | None, sample: float, segment_bytes: int, segment_time: float, total_bytes: int
) -> dict[str, Any]:
    if not 0 <= sample <= 1:
        raise ServingError(f"log_sample is {sample}, expected 0 to 1", place="log_sample")
    for name, value in (("log_segment_bytes", segment_bytes), ("log_total_bytes", total_bytes)):
        if not 1 <= value < 2**63:
            raise ServingError(f"{name} is {value}, expected 1 to {2**63 - 1}", place=name)
    return {
        "log": None if folder is None else os.fspath(folder),
        "log_sample": float(sample),
        "log_segment_bytes": segment_bytes,
        "log_segment_time": float(segment_time),
        "log_total_bytes": total_bytes,
    }


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
