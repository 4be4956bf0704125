"""A plugin package to start from: what `headrace plugins new` writes. Its tests pass before it is edited.

Every file comes from a template beside this module. Only names that were checked here are put into them.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from headrace.errors import SpecError, StoreError
from headrace.hooks.catalog import NAME_RULE, is_name
from headrace.pipeline.spec import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "headrace-"
DEFAULT_KIND = "enrich"
SHAPES = ("transform", "ingest", "train")
"""What there are templates for. A kind of one's own is a transform: a table in, a table out."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
_LONGEST = 40
_EXAMPLE_KEYS = {"transform": 'column = "age"', "ingest": 'path = "numbers.txt"', "train": "smoothing = 1.0"}


@dataclass(frozen=True)
class PluginPlan:
    """What will be written, decided and checked; `write` writes it."""

    distribution: str
    module: str
    kind: str
    use: str
    class_name: str
    shape: str
    folder: Path

    def table(self) -> str:
        """The stage in a headrace.toml. A kind of one's own is said, one of headrace's is the table's name."""
        head = f"[{self.kind}]" if self.kind in KINDS else f'[{self.use}]\nkind = "{self.kind}"'
        return f'{head}\nuse = "{self.use}"\n{_EXAMPLE_KEYS[self.shape]}'

    def files(self) -> dict[str, str]:
        """Path inside the package -> template."""
        return {
            "pyproject.toml": "pyproject.toml",
            "README.md": "README.md",
            f"src/{self.module}/__init__.py": "init.py",
            f"src/{self.module}/plugin.py": "plugin.py",
            f"src/{self.module}/stage.py": f"stage_{self.shape}.py",
            "tests/test_stage.py": f"test_{self.shape}.py",
        }

    def render(self) -> dict[str, str]:
        """Path inside the package -> its text."""
        from headrace import __version__

        words = {
            "distribution": self.distribution,
            "module": self.module,
            "kind": self.kind,
            "use": self.use,
            "class_name": self.class_name,
            "headrace": ".".join(__version__.split(".")[:2]),
            "table": self.table(),
        }
        templates = resources.files("headrace.scaffold") / "templates"
        rendered = {}
        for path, template in self.files().items():
            text = (templates / f"{template}.tmpl").read_text(encoding="utf-8")
            rendered[path] = Template(text).substitute(words)
        return {**rendered, f"src/{self.module}/py.typed": ""}


def plan_plugin(
    name: str, *, kind: str = DEFAULT_KIND, parent: Path, taken: Mapping[tuple[str, str], str] | None = None
) -> PluginPlan:
    """Check the names and say what would be written.

    `name` is the distribution's, with or without the prefix `headrace-`; what follows the prefix is what `use` says.
    `taken` maps (kind, use) of the stages that there are to the distribution that each is from.
    Raises `SpecError` for a name that cannot be one or is taken, a kind without a template, a folder that exists.
    """
    use = name.removeprefix(PREFIX)
    if not _NAME.fullmatch(use) or len(use) > _LONGEST:
        wish = re.sub(r"[^a-z0-9]+", "-", use.lower()).strip("-")[:_LONGEST].strip("-")
        hint = f"Use lower-case letters, digits and single '-', a letter first, at most {_LONGEST} characters"
        hint += f": `{wish}`." if _NAME.fullmatch(wish) else "."
        raise SpecError(f"{name!r} cannot be the name of a plugin", hint=hint)
    if kind in KINDS and kind not in SHAPES:
        raise SpecError(
            f"there is no template for stages of the kind {kind!r}",
            hint="There are some for 'ingest', 'train' and kinds of your own (a table in, a table out). Start from one "
            f"of these; `headrace plugins show {kind}:...` says what `run` takes and gives.",
        )
    if not is_name(kind):
        raise SpecError(f"{kind!r} cannot be the kind of a stage", hint=NAME_RULE)
    if owner := (taken or {}).get((kind, use)):
        message = f"there is a stage {kind}:{use} already, from {owner}, and two of one name cannot be used"
        raise SpecError(message, hint="Choose another name.")
    distribution = f"{PREFIX}{use}"
    folder = parent / distribution
    if folder.exists() or folder.is_symlink():
        raise SpecError(
            "it exists already, and is left as it is", place=str(folder), hint="Choose another name or --dir."
        )
    return PluginPlan(
        distribution=distribution,
        module=distribution.replace("-", "_"),
        kind=kind,
        use=use,
        class_name="".join(part.capitalize() for part in use.split("-")),
        shape=kind if kind in SHAPES else "transform",
        folder=folder,
    )


def write_plugin(plan: PluginPlan) -> tuple[Path, ...]:
    """Write the package: all of it, or nothing. Returns the files. Raises `StoreError` if the disk refuses."""
    rendered = plan.render()
    try:
        plan.folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{plan.distribution}.", dir=plan.folder.parent))
        try:
            for path, text in rendered.items():
                target = unfinished / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            unfinished.chmod(0o755)
            unfinished.rename(plan.folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        if plan.folder.exists():
            raise SpecError("it exists already, and is left as it is", place=str(plan.folder)) from error
        message = f"cannot be written: {error.strerror or error}"
        raise StoreError(message, place=str(plan.folder), hint="Choose a folder that you may write to.") from error
    return tuple(plan.folder / path for path in sorted(rendered))
