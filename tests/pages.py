"""Pages of documentation that are executed as they stand.

A block of `sh` is run by bash, in the folder where the one before it ended. A block with a title is a file. A block of
`text` after a block of `sh` is what that prints: each line of it is looked for, in order; `...` stands for anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r'^(`{3,})(\w+)(?: title="([^"]+)")?\n(.*?)^\1$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(language, title, text) for _, language, title, text in BLOCK.findall(page.read_text())]


class Shell:
    """bash in a virtual environment of its own that sees what this one has installed; the folder is kept."""

    def __init__(self, home: Path) -> None:
        self.home = self.folder = home / "work"
        self.folder.mkdir()
        environment = home / "environment"
        venv.create(environment, symlinks=True)
        python = environment / "bin" / "python"
        paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
        outer = home / "outer"
        outer.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.startswith("headrace_"):  # plugins that are installed here are not to be found there
                (outer / path.name).symlink_to(path)
        Path(paths["purelib"], "outer.pth").write_text(f"import site; site.addsitedir({str(outer)!r})\n")
        for command, module in {"pip": "pip", "pytest": "pytest", "headrace": "headrace.cli.main"}.items():
            script = environment / "bin" / command
            script.write_text(f'#!/bin/sh\nexec "{python}" -m {module} "$@"\n')
            script.chmod(0o755)
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}},
            "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            # "0" is how pip is told not to isolate: what builds need is among the test dependencies, not asked for.
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
            "COLUMNS": "110",
        }

    def run(self, commands: str) -> str:
        after = self.folder.parent / "after"
        # The folder and the exported variables are what one block leaves to the next.
        script = f"set -euo pipefail\n{commands}\n{{ pwd; env -0; }} > '{after}'\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        folder, _, variables = after.read_text().partition("\n")
        self.folder = Path(folder)
        self.environment = dict(item.split("=", 1) for item in variables.split("\0") if item)
        return done.stdout


def assert_shown(expected: str, printed: str) -> None:
    """Each line of `expected` is in `printed`, in order."""
    rest = printed.splitlines()
    for line in expected.splitlines():
        if line.strip() in ("", "..."):
            continue
        while rest and line.strip() not in rest[0]:
            rest.pop(0)
        assert rest, f"{line!r} is not in\n{printed}"


def follow(page: Path, shell: Shell) -> None:
    """Do what the page says. Untitled Python is run as a script."""
    printed = ""
    for block in blocks(page):
        path = shell.home / block.title
        if block.title:
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text)
        elif block.language == "sh":
            printed = shell.run(block.text)
        elif block.language == "python":
            printed = shell.run(f"python - <<'END_OF_PYTHON'\n{block.text}END_OF_PYTHON")
        else:
            assert block.language == "text", "a block is a file, commands, or what they print"
            assert_shown(block.text, printed)
