"""What tests of several rooms share: distributions written by hand into a folder, and a PostgreSQL of their own."""

from __future__ import annotations

import importlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from headrace.store import Store

pytest_plugins = ("chain_project",)


class SitePackages:
    """A folder on `sys.path`, here and in child processes, into which distributions are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        name: str,
        version: str = "1.0",
        *,
        plugins: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        metadata: str | None = None,
    ) -> Path:
        """Write modules and the metadata of a distribution; `plugins` are its entry points of the group `headrace`."""
        for path, text in (files or {}).items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(textwrap.dedent(text), encoding="utf-8")
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" if metadata is None else metadata
        (info / "METADATA").write_text(about, encoding="utf-8")
        if plugins is not None:
            lines = [f"{key} = {value}" for key, value in plugins.items()]
            (info / "entry_points.txt").write_text("\n".join(["[headrace]", *lines, ""]), encoding="utf-8")
        importlib.invalidate_caches()
        return info

    def forget(self) -> None:
        """Drop what was imported from the folder."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SitePackages]:
    """An empty folder of installed distributions, first on `sys.path`; gone after the test."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    made = SitePackages(folder)
    yield made
    made.forget()


# Runs a server until standard input ends, which it does when the tests do, in whatever way; then tidies up.
_GUARDED = '"$@" & server=$!; cat; kill -INT $server; wait $server; rm -rf "$PWD"'


class PostgreSQL:
    """A private PostgreSQL server on a Unix socket, not as root. `database()` makes an empty database."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._count = 0
        as_root = os.geteuid() == 0
        owner = pwd.getpwnam("postgres") if as_root else pwd.getpwuid(os.geteuid())
        self._user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if as_root else {}
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        data = folder / "data"
        self._call("initdb", "-D", data, "-U", "headrace", "-A", "trust", "-E", "UTF8", "--no-sync")
        quick = "-c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"
        with Path(f"{data}.log").open("wb") as log:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARDED, "sh", programs / "postgres", "-k", folder, *quick.split()],
                cwd=folder,
                env={**os.environ, "PGDATA": str(data)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._user,
            )
        deadline = time.monotonic() + 60
        while subprocess.run([programs / "pg_isready", "-q", "-h", folder], check=False).returncode:
            assert self._guard.poll() is None, Path(f"{data}.log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._count += 1
        name = f"test_{self._count}"
        self._call("createdb", "-h", self._folder, "-U", "headrace", name)
        return f"postgresql://headrace@/{name}?host={self._folder}"

    def stop(self) -> None:
        self._guard.communicate()

    def _call(self, program: str, *arguments: str | Path) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            check=False,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **self._user,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


def _postgresql_programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps it off the PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return known[-1].parent if known else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for this session. Without the programs: a skip, or a failure if they are required."""
    programs = _postgresql_programs()
    if programs is None:
        missing = "PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)"
        if os.environ.get("HEADRACE_REQUIRE_SYSTEM") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="hr-pg-", dir="/tmp") as folder:  # a socket's path must be short
        server = PostgreSQL(programs, Path(folder))
        yield server
        server.stop()


# --- stores on both databases -----------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def url(request: pytest.FixtureRequest) -> str | None:
    """What to pass as `url`: None for SQLite in the folder, or a fresh PostgreSQL database."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgresql").database()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def open_store(root: Path, url: str | None) -> Iterator[Callable[..., Store]]:
    """Open the test's store, again and again; all are closed at the end."""
    with ExitStack() as stack:

        def open_(**options: Any) -> Store:
            return stack.enter_context(Store.open(root, url=url, **options))

        yield open_


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()
