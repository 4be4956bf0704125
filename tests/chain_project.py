"""A small project with stages of its own, for tests of the engine. The steps write down when they really run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace import Project

STEPS = '''
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from headrace import ArtifactReader, ArtifactWriter, StageContext
from pydantic import BaseModel, ConfigDict, Field

from {package}.maths import add


@dataclass(frozen=True)
class Number:
    type_name: ClassVar[str] = "number"
    value: int

    def save(self, to: ArtifactWriter) -> None:
        to.json("value", self.value)

    @classmethod
    def load(cls, source: ArtifactReader) -> Number:
        return cls(int(source.json("value")))


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    by: int = Field(1, description="how much is added")
    file: str | None = Field(None, description="a file that holds the number")
    fail: int = Field(0, description="how often it fails before it succeeds")
    sleep: float = Field(0.0, description="seconds that it takes")


def note(ctx: StageContext, word: str) -> None:
    with (ctx.project_dir / "ran.log").open("a") as log:
        log.write(word + "\\n")


class _Base:
    Config = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def work(self, ctx: StageContext) -> None:
        note(ctx, ctx.stage)
        ctx.log("hello")
        ctx.metric("score", 0.5)
        tries = ctx.workdir / "tries"
        done = int(tries.read_text()) if tries.exists() else 0
        tries.write_text(str(done + 1))
        if done < self.config.fail:
            raise ValueError(f"try {{done}}")
        if self.config.sleep:
            import time

            end = time.monotonic() + self.config.sleep
            while time.monotonic() < end:
                time.sleep(0.01)
                ctx.check_cancelled()


class Start(_Base):
    def external(self, project_dir: Path):
        return None if self.config.file is None else (project_dir / self.config.file).read_text()

    def run(self, ctx: StageContext) -> Number:
        self.work(ctx)
        if self.config.file is None:
            return Number(self.config.by)
        return Number(int((ctx.project_dir / self.config.file).read_text()))


class Add(_Base):
    def run(self, ctx: StageContext, number: Number) -> Number:
        self.work(ctx)
        return Number(add(number.value, self.config.by))


class Parity(_Base):
    """Its output changes less often than its input."""

    def run(self, ctx: StageContext, number: Number) -> Number:
        self.work(ctx)
        return Number(number.value % 2)


class Dice(_Base):
    deterministic = False

    def run(self, ctx: StageContext, number: Number) -> Number:
        self.work(ctx)
        return Number(number.value)


class Both(NamedTuple):
    left: Number
    right: Number


class Fork(_Base):
    def run(self, ctx: StageContext, number: Number) -> Both:
        self.work(ctx)
        return Both(Number(number.value), Number(-number.value))


class Liar(_Base):
    def run(self, ctx: StageContext, number: Number) -> Number:
        return 3
'''
FILES = {
    "__init__.py": "",
    "maths.py": "from {package}.deeper import plus\n\n\ndef add(a, b):\n    return plus(a, b)\n",
    "deeper.py": "from {package} import deepest\n\n\ndef plus(a, b):\n    return deepest.total([a, b])\n",
    "deepest.py": "def total(numbers):\n    return sum(numbers)  # the sum\n",
    "unused.py": "NOTHING = 0\n",
}
SPEC = """
[project]
name = "chain"

[start]
kind = "step"
use = "{package}.steps:Start"

[two]
kind = "step"
use = "{package}.steps:Add"

[three]
kind = "step"
use = "{package}.steps:Add"
by = 10
"""


class Chain:
    """The project folder, and what its steps wrote down."""

    def __init__(self, folder: Path, package: str) -> None:
        self.folder = folder
        self.package = package

    def spec(self, text: str) -> None:
        (self.folder / "headrace.toml").write_text(text.replace("{package}", self.package))

    def edit(self, module: str, old: str, new: str) -> None:
        path = self.folder / self.package / f"{module}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        self.forget()

    def forget(self) -> None:
        """As a new process would: import the project's modules again."""
        for name in [name for name in sys.modules if name.split(".")[0] == self.package]:
            del sys.modules[name]

    def ran(self) -> list[str]:
        """What ran since the last call, in order."""
        log = self.folder / "ran.log"
        lines = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def project(self, **options: object) -> Project:
        return Project(self.folder, **options)  # type: ignore[arg-type]


@pytest.fixture
def chain(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Chain]:
    package = f"pkg_{abs(hash(request.node.nodeid)):x}"
    folder = tmp_path / package
    folder.mkdir()
    for name, text in {"steps.py": STEPS.replace("{{", "{").replace("}}", "}"), **FILES}.items():
        (folder / name).write_text(text.replace("{package}", package))
    made = Chain(tmp_path, package)
    made.spec(SPEC)
    before = list(sys.path)
    yield made
    made.forget()
    sys.path[:] = before


Make = Callable[..., Chain]
