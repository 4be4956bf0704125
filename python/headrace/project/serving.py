"""Serving out of a project: what is named on a command line or in `serve.toml`, kept at what the registry says."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ServingError
from headrace.serving.follower import Follower
from headrace.serving.routes import Route, Target
from headrace.serving.signature import numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from headrace.project.project import Project
    from headrace.registry import Registry
    from headrace.serving import Server
    from headrace.serving.config import ServeConfig
    from headrace.serving.labels import Keeping
    from headrace.serving.server import Loaded
    from headrace.serving.watching import Watching
    from headrace.types import ModelVersion, PackageView


def routes_of(refs: Sequence[str], config: ServeConfig | None = None, *, folder: Path | None = None) -> list[Route]:
    """The endpoints of a file, then those of references, each under its model's name; a reference wins over the file.

    Files of ONNX in the configuration are looked for from `folder`. Raises `InvalidNameError` for what is no reference,
    `ServingError` where nothing is named.
    """
    routes: dict[str, Route] = {}
    for name, table in (config.endpoints if config else {}).items():
        shares = [(table.model, 1)] if table.model is not None else [(one.model, one.weight) for one in table.routes]
        weights = tuple((_target(ref, folder), weight) for ref, weight in shares)
        shadows = tuple(_target(ref, folder) for ref in table.shadows)
        routes[name] = Route(name, weights, shadows, table.key)
    named: dict[str, str] = {}
    for ref in refs:
        target = _target(ref, None)
        if target.model in named:
            raise ServingError(
                f"{named[target.model]!r} and {ref!r} would both be served as {target.model!r}",
                place="headrace serve",
                hint="Name one of them, or give them endpoints of their own in the file of --config.",
            )
        named[target.model] = ref
        routes[target.model] = Route(target.model, ((target, 1),))
    if not routes:
        hint = "Name a model, or endpoints in the file of --config."
        raise ServingError("there is nothing to serve", place="headrace serve", hint=hint)
    return list(routes.values())


def needs_registry(routes: Sequence[Route]) -> bool:
    """Whether they name anything but files."""
    return any(not isinstance(target.which, Path) for route in routes for target in route.targets)


def follow(server: Server, project: Project, routes: Sequence[Route], *, say: Callable[[str], object]) -> Follower:
    """Load and offer `routes` now; what comes back follows the aliases once it is started."""
    store = project.existing_store
    files: list[Path] = []
    if store.url is None:
        place = Path(store.database.place)
        files = [place, place.with_name(f"{place.name}-wal")]
    follower = Follower(server, routes, open_registry=_reopening(project), files=files, say=say)
    follower.begin(project.registry)
    return follower


def watch(server: Server, project: Project, *, say: Callable[[str], None]) -> Watching:
    """What carries the server's live windows into the store, once it is started."""
    from headrace.serving.watching import Watching
    from headrace.store import Store

    reopened = _reopening(project)
    root, url = project.existing_store.root, project.existing_store.url

    def package(model: str, number: str) -> PackageView | None:
        with reopened() as registry:
            if registry.store.versions.get(model, int(number)) is None:
                return None
            found = registry.get(model, int(number))
            names = [name for name in found.manifest["files"] if not name.startswith("model.")]
            if "profile.bin" not in names:
                return None
            return _Copy(found.version, found.manifest, {name: found.read(name) for name in names})

    return Watching(server, lambda: Store.open(root, url=url, create=False), package, say=say)


def keep(server: Server, project: Project, log: Path | None, *, say: Callable[[str], None]) -> Keeping:
    """What stores the labels that the server is sent, once it is started."""
    from headrace.serving.labels import Keeping
    from headrace.serving.logged import Logged
    from headrace.store import Store

    root, url = project.existing_store.root, project.existing_store.url
    logged = Logged(log) if log is not None else None
    return Keeping(server, lambda: Store.open(root, url=url, create=False), logged, say=say)


def _reopening(project: Project) -> Callable[[], AbstractContextManager[Registry]]:
    """Opens the registry to read, on whatever thread and however long after the project was closed."""
    store = project.existing_store
    root, url, transforms = store.root, store.url, project.transforms

    @contextmanager
    def reopened() -> Iterator[Registry]:
        from headrace.registry import Registry
        from headrace.store import Store

        # The file that was opened first may be gone, and another in its place; nothing is made, and nothing written.
        with Store.open(root, url=url, create=False, read_only=True) as again:
            yield Registry(again, who="", transforms=transforms)

    return reopened


@dataclass(frozen=True)
class _Copy:
    """The small files of a package, which stay when the store is closed."""

    version: ModelVersion
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        return self.files[name]


def offer_files(server: Server, routes: Sequence[Route]) -> None:
    """Load and offer routes that name files only."""
    for route in routes:
        loaded: dict[Target, Loaded] = {}
        numbers = numbered([target.which for target in route.targets if isinstance(target.which, Path)])
        for target in route.targets:
            if target not in loaded and isinstance(target.which, Path):
                loaded[target] = server.load(target.which, version=numbers[target.which])
        weights: dict[Loaded, int] = {}
        for target, weight in route.weights:
            weights[loaded[target]] = weights.get(loaded[target], 0) + weight
        shadows = [loaded[target] for target in route.shadows]
        server.route(route.endpoint, weights, shadows=shadows, key=route.key)


def _target(ref: str, folder: Path | None) -> Target:
    from headrace.registry.names import parse

    if ref.endswith(".onnx"):
        path = Path(ref) if folder is None else folder / ref
        return Target(path.stem, path)
    reference = parse(ref)
    return Target(reference.model, reference.alias or reference.number or 0)
