"""Where a run came from: the code's commit and its uncommitted changes, the environment, the machine."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.runtime.lock import Environment, python_abi

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIFF_LIMIT = 1 << 20


class GitState:
    """Asks git in the background, so that a run does not wait for it."""

    def __init__(self, folder: Path) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        if _repository_of(folder) is None:
            return
        commands = {
            "commit": ["git", "rev-parse", "HEAD"],
            "status": ["git", "status", "--porcelain", "--untracked-files=no"],
            "diff": ["git", "diff", "--no-ext-diff", "--no-color", "HEAD"],
        }
        try:
            for name, command in commands.items():
                self._processes[name] = subprocess.Popen(  # noqa: S603  # a fixed list of arguments
                    command,
                    cwd=folder,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    stdin=subprocess.DEVNULL,
                )
        except FileNotFoundError:
            self._processes = {}

    def collect(self) -> dict[str, Any]:
        """`commit`, `dirty`, and the `diff` (cut at 1 MiB, and `diff_cut` says so); empty outside a repository."""
        found = {}
        for name, process in self._processes.items():
            out, _ = process.communicate()
            if process.returncode != 0:
                return {}
            found[name] = out
        if not found:
            return {}
        diff = found["diff"]
        return {
            "commit": found["commit"].decode().strip(),
            "dirty": bool(found["status"].strip()),
            "diff": diff[:_DIFF_LIMIT].decode("utf-8", "replace"),
            "diff_cut": len(diff) > _DIFF_LIMIT,
        }


def describe(environment: Environment, git: GitState) -> Mapping[str, Any]:
    """The provenance of a run, as JSON. No environment variables: they may hold secrets."""
    return {
        "git": git.collect(),
        "python": platform.python_version(),
        "abi": python_abi(),
        "platform": platform.platform(terse=True),
        "machine": platform.node(),
        "cpus": os.cpu_count() or 1,
        "who": who(),
        "program": Path(sys.argv[0]).name if sys.argv else "",
        "distributions": environment.distributions(),
    }


def who() -> str:
    """The person at the keyboard: login name and machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{platform.node()}"


def _repository_of(folder: Path) -> Path | None:
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None
