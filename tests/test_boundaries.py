"""What import-linter cannot see: who imports the extension module, what built-ins and plugins may use, what nobody may.

Built-ins are written as a stranger would write them: from public names only. Pickles and evaluated text are the oldest
hole in model tooling, so neither the package nor a plugin names them.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "headrace"
PUBLIC = {"headrace", "headrace.drift", "headrace.errors", "headrace.metrics", "headrace.testing"}
# The kit runs a stage for real, in a store and with a registry of its own.
TESTING_MAY = (
    PUBLIC
    | {f"headrace.{room}" for room in ("types", "hooks", "runtime", "store", "registry")}
    | {
        "headrace.compute.plan.transforms"  # a transform is tried with the checks that a plan makes
    }
)


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, module and name (empty for a plain import) of each import in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)


def within(module: str, roots: set[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def test_only_compute_imports_the_extension_module():
    users = {
        module_of(path)
        for path in sources(PACKAGE)
        for _, module, name in imports(path)
        if "headrace._core" in (module, f"{module}.{name}")
    }
    assert users
    assert {user for user in users if not within(user, {"headrace.compute"})} == set()


def foreign(path: Path, allowed: set[str]) -> list[str]:
    """Imports of headrace in `path` that are not of `allowed` modules, or take a name that the top does not list."""
    public_names = set(importlib.import_module("headrace").__all__)
    found = []
    for line, module, name in imports(path):
        if not within(module, {"headrace"}):
            continue
        if module == "headrace" and name and name not in public_names | {"drift", "errors", "metrics", "testing"}:
            found.append(f"{path.relative_to(ROOT)}:{line}: headrace.{name} is not public")
        elif module != "headrace" and not within(module, allowed - {"headrace"}):
            found.append(f"{path.relative_to(ROOT)}:{line}: {module} is not public")
    return found


def test_builtins_use_public_names_only():
    """And one built-in does not use another; only the parts of one do."""
    found = []
    for path in sources(PACKAGE / "builtins"):
        package = ".".join(module_of(path).split(".")[:3])
        found += foreign(path, PUBLIC | {package})
    assert found == []


def test_plugins_use_public_names_only():
    assert [line for path in sources(*ROOT.glob("plugins/*/src")) for line in foreign(path, PUBLIC)] == []


def test_the_conformance_kit_knows_the_rooms_that_run_a_stage_and_no_more():
    assert [line for path in sources(PACKAGE / "testing") for line in foreign(path, TESTING_MAY)] == []


# --- what nobody may name ------------------------------------------------------------------------------------------

BANNED = re.compile(
    r"""^\s*(?:import|from)\s+(?:pickle|cPickle|_pickle|joblib|cloudpickle|dill|shelve|marshal)\b
      | \b(?:pickle|joblib|cloudpickle|dill|marshal)\.(?:load|loads|dump|dumps)\b
      | \byaml\.(?:load|full_load|unsafe_load)\b
      | (?<![\w.])(?:eval|exec)\(
      | \bshell\s*=\s*True\b
      | \bos\.(?:system|popen)\b
      | \ballow_pickle\s*=\s*True\b
    """,
    re.VERBOSE | re.MULTILINE,
)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "  import cloudpickle as cp",
        "dill.dumps(model)",
        "yaml.load(text)",
        "x = eval(text)",
        "exec(code)",
        "run(command, shell=True)",
        "os.system(command)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_ban_sees(text):
    assert BANNED.search(text)


@pytest.mark.parametrize("text", ["model.eval()", "literal_eval(text)", "a pickle is refused", "yaml.safe_load(text)"])
def test_the_ban_lets_pass(text):
    assert not BANNED.search(text)


def test_nothing_banned_is_named():
    """In code; a comment or a string that explains why something is refused may use the word."""
    found = []
    for path in sources(PACKAGE, *ROOT.glob("plugins/*/src"), *ROOT.glob("examples")):
        text = path.read_text("utf-8")
        for match in BANNED.finditer(code_only(text)):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group().strip()}")
    assert found == []


def code_only(text: str) -> str:
    """`text` with every string literal and comment blanked, so that offsets and lines stay."""
    lines = text.split("\n")
    for token in _strings_and_comments(text):
        (first, start), (last, end) = token
        for row in range(first - 1, last):
            line = lines[row]
            begin = start if row == first - 1 else 0
            stop = end if row == last - 1 else len(line)
            lines[row] = line[:begin] + " " * (stop - begin) + line[stop:]
    return "\n".join(lines)


def _strings_and_comments(text: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            yield token.start, token.end


def test_the_lock_of_the_rust_benches_knows_what_the_core_depends_on() -> None:
    """They are a workspace of their own, built with `--locked`: a new dependency of the core goes into both locks."""
    wanted = set(tomllib.loads((ROOT / "rust/headrace-core/Cargo.toml").read_text())["dependencies"])
    lock = tomllib.loads((ROOT / "benches/rust/Cargo.lock").read_text())
    (core,) = (package for package in lock["package"] if package["name"] == "headrace-core")
    assert set(core["dependencies"]) == wanted, "cargo update -w --offline --manifest-path benches/rust/Cargo.toml"
