"""`Follower`: keeps what a server offers at what the registry says, while it serves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from headrace.errors import CorruptObjectError, HeadraceError, NotFoundError, StoreError
from headrace.serving.signature import lacking, numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from headrace.serving.routes import Route, Target
    from headrace.serving.server import Loaded, Server
    from headrace.types import PackageView

_EVERY = 1.0
"""Seconds between two looks at the store's file."""
_LOOKS = 30
"""After so many the store is asked whatever its file says: two changes may fall into one tick of the file's clock."""


class Versions(Protocol):
    """What is asked of a registry."""

    def aliased(self, model: str, alias: str) -> int | None:
        """The number of the version that an alias names now."""

    def get(self, model: str, which: int | str) -> PackageView:
        """A version, its files checked."""


class Follower:
    """Loads what the routes name, and swaps as soon as an alias moves, wherever it was moved.

    A version that cannot be served is refused: said once, counted (`headrace_load_failures_total`), and what was served
    goes on. So it does when the store cannot be read, until it can be read again
    (`headrace_registry_reachable`).

    Parameters
    ----------
    server
        Whose endpoints they are.
    routes
        What it is to offer.
    open_registry
        Opens the registry to read; called in a thread of the follower's own, and whenever the store has changed.
    files
        The files of the store's database. Empty: it has none here, and is asked every time.
    say
        Told in a line what became of a change.
    every
        Seconds between two looks.

    """

    def __init__(
        self,
        server: Server,
        routes: Sequence[Route],
        *,
        open_registry: Callable[[], AbstractContextManager[Versions]],
        files: Sequence[Path] = (),
        say: Callable[[str], object],
        every: float = _EVERY,
    ) -> None:
        self._server = server
        self._routes = tuple(routes)
        self._open_registry = open_registry
        self._files = tuple(files)
        self._say = say
        self._every = every
        self._served: dict[str, tuple[int | Path | None, ...]] = {}
        self._refused: dict[str, tuple[int | Path | None, ...]] = {}
        self._offered: dict[str, tuple[Loaded, ...]] = {}
        self._loaded: dict[tuple[str, int | Path], Loaded] = {}
        self._reachable = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headrace-follower", daemon=True)

    def begin(self, registry: Versions) -> None:
        """Load and offer everything. Raises what `Server.load` raises, and `NotFoundError` for a name that is none."""
        self._seen = self._state()
        for route in self._routes:
            wanted = self._wanted(registry, route)
            for target, found in zip(route.targets, wanted, strict=True):
                if found is None:
                    registry.get(target.model, str(target.which))  # says what there is instead
            self._offer(registry, route, wanted)
        self._server.follows(reachable=True)

    def start(self) -> None:
        """Follow from now on, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        looks = 0
        while not self._ended.wait(self._every):
            looks += 1
            try:
                state = self._state()
                if self._reachable and self._files and state == self._seen and looks % _LOOKS:
                    continue
                with self._open_registry() as registry:
                    for route in self._routes:
                        self._follow(registry, route)
                self._seen = state
            except (HeadraceError, OSError) as error:
                if self._reachable:
                    self._say(f"the store cannot be read, and what is served goes on: {error}")
                self._server.follows(reachable=False)
                self._reachable = False
            else:
                if not self._reachable:
                    self._say("the store can be read again")
                    self._server.follows(reachable=True)
                self._reachable = True

    def _state(self) -> list[tuple[int, int, int]]:
        """What changes whenever somebody writes."""
        found = []
        for number, path in enumerate(self._files):
            try:
                about = path.stat()
            except FileNotFoundError:
                # Only the first is always there; SQLite makes the others and takes them away.
                if number == 0:
                    raise
                continue
            found.append((about.st_ino, about.st_size, about.st_mtime_ns))
        return found

    def _wanted(self, registry: Versions, route: Route) -> tuple[int | Path | None, ...]:
        return tuple(
            registry.aliased(target.model, target.which) if isinstance(target.which, str) else target.which
            for target in route.targets
        )

    def _follow(self, registry: Versions, route: Route) -> None:
        wanted = self._wanted(registry, route)
        if wanted == self._served[route.endpoint]:
            # Somebody took back what was refused.
            self._refused.pop(route.endpoint, None)
            return
        if wanted == self._refused.get(route.endpoint):
            return
        before = self._server.routes[route.endpoint]
        try:
            self._offer(registry, route, wanted)
        except HeadraceError as error:
            if isinstance(error, StoreError) and not isinstance(error, NotFoundError | CorruptObjectError):
                raise
            self._refused[route.endpoint] = wanted
            hint = f" {error.hint}" if error.hint else ""
            self._say(f"{route.endpoint} stays as it is ({_shown(before)}): {error}{hint}")
        else:
            self._refused.pop(route.endpoint, None)
            self._say(f"{route.endpoint} is {_shown(self._server.routes[route.endpoint])} now, was {_shown(before)}")

    def _offer(self, registry: Versions, route: Route, wanted: tuple[int | Path | None, ...]) -> None:
        fresh: dict[tuple[str, int | Path], Loaded] = {}
        numbers = numbered(wanted)

        def loaded(target: Target, found: int | Path | None) -> Loaded:
            if found is None:
                raise NotFoundError(f"there is no {target} any more", hint="Promote a version to it.")
            key = (target.model, found)
            known = self._loaded.get(key) or fresh.get(key)
            if known is None:
                if isinstance(found, int):
                    known = self._server.load(registry.get(target.model, found))
                else:
                    known = self._server.load(found, version=numbers[found])
                fresh[key] = known
            return known

        weights: dict[Loaded, int] = {}
        for (target, weight), found in zip(route.weights, wanted, strict=False):
            one = loaded(target, found)
            weights[one] = weights.get(one, 0) + weight
        shadows = [
            loaded(target, found) for target, found in zip(route.shadows, wanted[len(route.weights) :], strict=True)
        ]
        # A version is not its own shadow: right after a promotion it would be.
        shadows = [one for one in dict.fromkeys(shadows) if one not in weights]
        before = self._offered.get(route.endpoint, ())
        self._server.route(route.endpoint, weights, shadows=shadows, key=route.key)
        self._offered[route.endpoint] = tuple(weights)
        if before and (lack := next(filter(None, (lacking(before[0], one) for one in weights)), None)):
            # Whoever promoted it knows; whose requests do not have it yet may not.
            self._say(f"warning: {route.endpoint} now {lack}, which {before[0]} did not: requests without are refused")
        self._served[route.endpoint] = wanted
        self._loaded.update(fresh)
        used = {
            (target.model, found)
            for other in self._routes
            for target, found in zip(other.targets, self._served.get(other.endpoint, ()), strict=False)
            if found is not None
        }
        self._loaded = {key: one for key, one in self._loaded.items() if key in used}


def _shown(weights: dict[str, int]) -> str:
    if len(weights) == 1:
        return next(iter(weights))
    total = sum(weights.values())
    return ", ".join(f"{name} {100 * weight / total:.3g} %" for name, weight in weights.items())
