"""`Watching`: carries what a server counts into the store, and what follows from it into the server's metrics."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.compute.drift.exposition import prometheus_text
from headrace.compute.drift.reference import Reference, Windows
from headrace.compute.profile import Profile, Window
from headrace.errors import HeadraceError
from headrace.store.live import KeptWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.serving.server import Server
    from headrace.serving.window import LiveWindow
    from headrace.store import Store
    from headrace.types import PackageView

EVERY = 60.0
MOST = 168
"""Periods that are kept while the store cannot be written: a week of hours."""

Key = tuple[str, str, int, int]


@dataclass
class _Held:
    """What this server counted in a period, all parts of it together."""

    windows: Windows
    stored: int = 0

    @property
    def rows(self) -> int:
        return self.windows.rows


@dataclass
class _Trouble:
    """What went wrong, said once until it has gone well again."""

    say: Callable[[str], None]
    said: set[str] = field(default_factory=set)

    def tell(self, what: str, message: str) -> None:
        if what not in self.said:
            self.said.add(what)
            self.say(message)

    def over(self, what: str) -> None:
        self.said.discard(what)


class Watching:
    """Looks at a server every minute, in a thread of its own, until it is stopped.

    Each time the live windows are fetched and added up, the current one is compared with the reference for the gauges
    of `/metrics`, and all that grew is written to the store. A store that is gone or cannot be written costs no
    prediction and, for up to 168 periods, no count: it is tried again each time.

    Parameters
    ----------
    server
        What is watched.
    open_store
        Opens the store; it is closed again each time, so that it may come and go.
    package
        The package of a version that is served, by model and version; None where it has none.
    every
        Seconds between two looks.
    say
        Takes what a person must hear: each trouble once, until it is over.

    """

    def __init__(
        self,
        server: Server,
        open_store: Callable[[], Store],
        package: Callable[[str, str], PackageView | None],
        *,
        every: float = EVERY,
        say: Callable[[str], None],
    ) -> None:
        self._server = server
        self._open_store = open_store
        self._package = package
        self._every = every
        self._trouble = _Trouble(say)
        self._references: dict[tuple[str, str], Reference] = {}
        self._waiting: list[LiveWindow] = []
        self._held: dict[Key, _Held] = {}
        self._failures = self._lost = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headrace-watching", daemon=True)

    def start(self) -> None:
        """Begin to look. What the versions that are served now were made on is read at once."""
        for versions in self._server.routes.values():
            for name in versions:
                model, _, version = name.rpartition("@")
                self._reference(model, version)
        self._thread.start()

    def stop(self) -> None:
        """Look once more, after the server has ended, and stop."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self.look()

    def look(self) -> None:
        """Fetch, add up, publish, write."""
        self._take(self._server.windows())
        self._write()
        self._server.publish(self._text())
        if trouble := self._server.trouble():
            self._trouble.tell("server", f"{trouble}; predictions go on, what is lost is counted in /metrics")

    # --- adding up ------------------------------------------------------------------------------------------------

    def _reference(self, model: str, version: str) -> Reference | None:
        if (model, version) not in self._references:
            try:
                package = self._package(model, version)
                if package is None:
                    return None
                self._references[model, version] = Reference.of_package(package, predict=False)
            except (HeadraceError, OSError) as error:
                self._trouble.tell(
                    f"{model}@{version}", f"{model}@{version} cannot be compared with its reference: {error}"
                )
                return None
        return self._references[model, version]

    def _take(self, windows: Iterable[LiveWindow]) -> None:
        waiting, self._waiting = [*self._waiting, *windows], []
        for window in waiting:
            reference = self._reference(window.model, window.version)
            if reference is None:
                self._waiting.append(window)
                continue
            key = (window.model, window.version, window.start, window.seconds)
            inputs = Window.from_bytes(window.inputs, reference.inputs)
            scores = None
            if reference.scores is not None and window.scores:
                scores = Window.from_bytes(window.scores, reference.scores)
            held = self._held.setdefault(key, _Held(Windows(reference.inputs.window(), _empty(reference.scores))))
            before = held.windows
            both = before.scores is not None and scores is not None
            held.windows = Windows(before.inputs + inputs, before.scores + scores if both else before.scores)  # type: ignore[operator]
        for window in self._waiting[:-MOST]:
            self._lost += window.rows
        self._waiting = self._waiting[-MOST:]
        for key in sorted(self._held, key=lambda key: key[2])[:-MOST]:
            held = self._held.pop(key)
            self._lost += held.rows - held.stored

    # --- the store ------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        grown = {key: held for key, held in self._held.items() if held.rows > held.stored}
        if grown:
            rows = [
                KeptWindow(
                    *key,
                    server=self._server.instance,
                    rows=held.rows,
                    inputs=held.windows.inputs.to_bytes(),
                    scores=held.windows.scores.to_bytes() if held.windows.scores is not None else b"",
                )
                for key, held in grown.items()
            ]
            try:
                with self._open_store() as store:
                    store.live.keep(rows)
            except (HeadraceError, OSError) as error:
                self._failures += 1
                self._trouble.tell("store", f"live windows cannot be stored: {error}; they are kept, and tried again")
                return
            self._trouble.over("store")
            for held in grown.values():
                held.stored = held.rows
        now = time.time()
        # Rows of a period that is over may still be on their way for a moment.
        over = [key for key, held in self._held.items() if key[2] + key[3] + 2 * self._every < now and held.stored]
        for key in over:
            if self._held[key].rows == self._held[key].stored:
                del self._held[key]

    # --- metrics --------------------------------------------------------------------------------------------------

    def _text(self) -> str:
        latest: dict[tuple[str, str], _Held] = {}
        for key in sorted(self._held, key=lambda key: key[2]):
            latest[key[:2]] = self._held[key]
        unstored = sum(held.rows - held.stored for held in self._held.values()) + sum(w.rows for w in self._waiting)
        texts = [
            _family("gauge", "window_unstored_rows", "Rows in live windows that are not in the store.", unstored),
            _family("counter", "store_failures_total", "How often live windows could not be stored.", self._failures),
            _family("counter", "window_lost_rows_total", "Rows that waited for the store too long.", self._lost),
        ]
        for (model, version), held in latest.items():
            report = self._references[model, version].compare(held.windows, threads=1)
            texts.append(prometheus_text(report))
        return joined(texts)


def _empty(profile: Profile | None) -> Window | None:
    return None if profile is None else profile.window()


def _family(kind: str, name: str, about: str, value: int) -> str:
    return f"# HELP headrace_{name} {about}\n# TYPE headrace_{name} {kind}\nheadrace_{name} {value}\n"


def joined(texts: Iterable[str]) -> str:
    """Several texts in Prometheus's format as one: each family once, with the samples of all."""
    families: dict[str, list[str]] = {}
    for text in texts:
        samples: list[str] = []
        for line in text.splitlines():
            if line.startswith("# HELP "):
                samples = families.setdefault(line.split(" ", 3)[2], [])
            if not line.startswith("#") or line not in samples:
                samples.append(line)
    return "".join(line + "\n" for samples in families.values() for line in samples)
