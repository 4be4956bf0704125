"""What an implementation's result depends on besides data: its source, transitively, and what it imports.

First-party is every module that is neither in the standard library nor installed: the project's own modules and
editable installs. Their source is followed import by import and hashed as tokens, so that comments and blank lines do
not count. Everything in site-packages is pinned by the version of its distribution instead.

Names that a package's `__init__` imports under `if TYPE_CHECKING:` are lazy exports, served by its `__getattr__`: they
are followed where a module names them (`from package import Name`), not wherever the package is imported.

Not followed: an import whose module name is computed at run time. It is reported, so that it can be said aloud.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import sys
import sysconfig
import threading
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import CacheUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# CPython 3.11 counts the depth of all parses of a process in one place: two at once can end in a SystemError.
_PARSING = threading.Lock()
_FACTS_FORMAT = 2  # of the cache file; another one is not read
_SKIPPED_TOKENS = frozenset((tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER))
_LAYOUT_TOKENS = frozenset((tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE))


@dataclass(frozen=True)
class SourceClosure:
    """What importing a module runs.

    `modules`: first-party module -> digest. `imports`: the other top-level modules. `dynamic`: modules that import
    something whose name is only known at run time.
    """

    modules: Mapping[str, str]
    imports: frozenset[str]
    dynamic: tuple[str, ...] = ()


@dataclass
class _Facts:
    """What one source file says: its token digest and its imports."""

    digest: str
    imports: list[list[Any]]  # [module, level, None or [[name, what it is called here], ...], lazy]
    dynamic: bool = False
    uses: list[list[str]] = field(default_factory=list)  # [name, attribute] of each `name.attribute`


@dataclass
class SourceIndex:
    """Follows imports. `cache_file` keeps what files said, by the hash of their bytes, so nothing is ever stale."""

    search: tuple[Path, ...]
    cache_file: Path | None = None
    _facts: dict[str, _Facts] = field(default_factory=dict)
    _fresh: bool = False
    _tops: dict[str, tuple[str, list[Path] | Path] | None] = field(default_factory=dict)
    _locations: dict[str, Path | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cache_file is not None and self.cache_file.exists():
            try:
                kept = json.loads(self.cache_file.read_text())
                if kept["format"] == _FACTS_FORMAT:
                    self._facts = {k: _Facts(*v) for k, v in kept["facts"].items()}
            except (ValueError, TypeError, KeyError, OSError):
                self._facts = {}  # an accelerator only: what cannot be read is computed again

    def closure(self, module: str) -> SourceClosure:
        """Everything that importing `module` runs, as far as it is first-party."""
        modules: dict[str, str] = {}
        imports: set[str] = set()
        dynamic: list[str] = []
        waiting = [module]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            path = self._locate(name)
            if path is None:
                top = name.partition(".")[0]
                if not self._first_party(top):
                    imports.add(top)
                continue
            if path.suffix != ".py":
                modules[name] = hashlib.sha256(path.read_bytes()).hexdigest()
                continue
            facts = self._read(path)
            modules[name] = facts.digest
            if facts.dynamic:
                dynamic.append(name)
            waiting.extend(self._targets(name, path, facts))
        return SourceClosure(dict(sorted(modules.items())), frozenset(imports - {"__future__"}), tuple(sorted(dynamic)))

    def keep(self) -> None:
        """Write what was learnt to the cache file."""
        if self.cache_file is not None and self._fresh:
            facts = {k: [v.digest, v.imports, v.dynamic, v.uses] for k, v in self._facts.items()}
            try:
                self.cache_file.parent.mkdir(parents=True, exist_ok=True)
                temporary = self.cache_file.with_suffix(f".{id(self)}.tmp")
                temporary.write_text(json.dumps({"format": _FACTS_FORMAT, "facts": facts}))
                temporary.replace(self.cache_file)
            except OSError:
                return  # an accelerator only; a store that cannot be written says so elsewhere
            self._fresh = False

    # --- what a module imports --------------------------------------------------------------------------------------

    def _targets(self, name: str, path: Path, facts: _Facts) -> Iterable[str]:
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        yield from _parents(name)
        for module, level, names, lazy in facts.imports:
            if lazy and path.name == "__init__.py":
                continue
            base = _absolute(module, level, package)
            if not base:
                continue
            yield from (*_parents(base), base)
            if names is None and level == 0:
                yield from self._used(facts, module.partition(".")[0], module.partition(".")[0])
            for imported, called in names or ():
                yield from self._named(base, imported)
                yield from self._used(facts, called, f"{base}.{imported}")

    def _used(self, facts: _Facts, called: str, package: str) -> Iterable[str]:
        """What `called.attribute` runs, where `called` is the package `package`: its lazy exports."""
        home = self._package_behind(package)
        if home is not None:
            for name, attribute in facts.uses:
                if name == called:
                    yield from self._named(home, attribute)

    def _package_behind(self, name: str) -> str | None:
        """The package that `name` is, or that it is a lazy export of another name for."""
        path = self._locate(name)
        if path is not None:
            return name if path.name == "__init__.py" else None
        package, _, imported = name.rpartition(".")
        outer = self._locate(package) if package else None
        if outer is None or outer.name != "__init__.py":
            return None
        for module, level, names, lazy in self._read(outer).imports:
            for original, called in names or ():
                found = f"{_absolute(module, level, package)}.{original}"
                if lazy and called == imported and found != name:
                    return self._package_behind(found)
        return None

    def _named(self, package: str, imported: str) -> Iterable[str]:
        """What `from package import imported` runs, besides the package: a submodule, or the home of a lazy export."""
        if self._locate(f"{package}.{imported}") is not None:
            yield f"{package}.{imported}"
            return
        path = self._locate(package)
        if path is None or path.name != "__init__.py":
            return
        for module, level, names, lazy in self._read(path).imports:
            for original, called in names or ():
                base = _absolute(module, level, package)
                if lazy and called == imported and (base, original) != (package, imported):
                    yield from (*_parents(base), base)
                    yield from self._named(base, original)

    def _read(self, path: Path) -> _Facts:
        try:
            data = path.read_bytes()
        except OSError as error:
            msg = f"the source of {path.name} cannot be read: {error.strerror}"
            raise CacheUnavailableError(msg, place=str(path)) from error
        raw = hashlib.sha256(data).hexdigest()
        if raw not in self._facts:
            self._facts[raw] = _facts_of(data)
            self._fresh = True
        return self._facts[raw]

    # --- where a module is ------------------------------------------------------------------------------------------

    def _first_party(self, top: str) -> bool:
        found = self._top(top)
        return found is not None and found[0] == "first-party"

    def _locate(self, name: str) -> Path | None:
        """The file of a first-party module; None for others, and for names that are not modules."""
        if name not in self._locations:
            self._locations[name] = self._find(name)
        return self._locations[name]

    def _find(self, name: str) -> Path | None:
        top, *rest = name.split(".")
        found = self._top(top)
        if found is None or found[0] != "first-party":
            return None
        where = found[1]
        if isinstance(where, Path):  # a single module
            return None if rest else where
        for folder in where:
            path = folder.joinpath(*rest)
            for candidate in (
                path / "__init__.py",
                path.with_suffix(".py") if rest else path / "__init__.py",
            ):
                if candidate.is_file():
                    return candidate
            if rest:
                extension = next(iter(sorted(path.parent.glob(f"{path.name}.*.so"))), None)
                if extension is not None:
                    return extension
        return None

    def _top(self, top: str) -> tuple[str, list[Path] | Path] | None:
        if top not in self._tops:
            self._tops[top] = self._find_top(top)
        return self._tops[top]

    def _find_top(self, top: str) -> tuple[str, list[Path] | Path] | None:
        for folder in self.search:
            if (folder / top).is_dir() and (
                (folder / top / "__init__.py").is_file() or any((folder / top).glob("*.py"))
            ):
                return ("first-party", [folder / top])
            if (folder / f"{top}.py").is_file():
                return ("first-party", folder / f"{top}.py")
        if top in sys.stdlib_module_names:
            return None
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        folders = [Path(p) for p in spec.submodule_search_locations or ()]
        origin = Path(spec.origin) if spec.origin and spec.origin not in ("built-in", "frozen") else None
        somewhere = folders[0] if folders else origin
        if somewhere is None or _is_installed(somewhere):
            return None
        if folders:
            return ("first-party", folders)
        return ("first-party", origin) if origin is not None else None


def _is_installed(top: Path) -> bool:
    """Whether a top-level module came by installation: it lies beside the metadata of distributions.

    That is so in the site-packages of this environment, of one below it (`--system-site-packages`), of the user, and
    in any folder that `pip install --target` filled.
    """
    paths = sysconfig.get_paths()
    if any(top.is_relative_to(paths[key]) for key in ("purelib", "platlib", "stdlib", "platstdlib")):
        return True
    return next(top.parent.glob("*.dist-info"), None) is not None


def _facts_of(data: bytes) -> _Facts:
    try:
        hasher = hashlib.sha256()
        for token in tokenize.tokenize(io.BytesIO(data).readline):
            if token.type in _SKIPPED_TOKENS:
                continue
            text = b"" if token.type in _LAYOUT_TOKENS else token.string.encode()
            hasher.update(token.type.to_bytes(2, "big") + len(text).to_bytes(8, "big") + text)
        with _PARSING:
            tree = ast.parse(data)
    except (SyntaxError, tokenize.TokenError, ValueError):
        return _Facts(hashlib.sha256(data).hexdigest(), [])  # it cannot be imported either; importing says why
    imports: list[list[Any]] = []
    facts = _Facts(hasher.hexdigest(), imports)
    _collect(tree, facts, lazy=False)
    facts.uses = [list(use) for use in sorted({(name, attribute) for name, attribute in facts.uses})]
    return facts


def _collect(node: ast.AST, facts: _Facts, *, lazy: bool) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            facts.imports += [[alias.name, 0, None, lazy] for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            names = [[alias.name, alias.asname or alias.name] for alias in child.names]
            facts.imports.append([child.module or "", child.level, names, lazy])
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for statement in child.body:
                _collect(ast.Module([statement], []), facts, lazy=True)
            for statement in child.orelse:
                _collect(ast.Module([statement], []), facts, lazy=lazy)
        elif isinstance(node, ast.Module) and isinstance(child, ast.FunctionDef) and child.name == "__getattr__":
            continue  # it serves the lazy exports, and those are followed by name
        else:
            if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
                facts.uses.append([child.value.id, child.attr])
            if isinstance(child, ast.Call) and _is_import_call(child.func):
                argument = child.args[0] if child.args else None
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    facts.imports.append([argument.value.lstrip("."), 0, None, lazy])
                else:
                    facts.dynamic = True
            _collect(child, facts, lazy=lazy)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_import_call(function: ast.expr) -> bool:
    return (isinstance(function, ast.Name) and function.id in ("__import__", "import_module")) or (
        isinstance(function, ast.Attribute) and function.attr == "import_module"
    )


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _absolute(module: str, level: int, package: str) -> str:
    if level == 0:
        return module
    base = package.split(".")
    base = base[: len(base) - (level - 1)]
    return ".".join([*base, module] if module else base)
