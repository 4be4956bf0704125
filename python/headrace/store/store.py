"""`Store`: the folder and the database together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from headrace.store import folder
from headrace.store.locks import holding, never
from headrace.store.objects import Objects

if TYPE_CHECKING:
    from headrace.store.artifacts import Artifacts
    from headrace.store.cache import Cache
    from headrace.store.database import Database
    from headrace.store.fsck import FsckReport
    from headrace.store.gc import GcReport
    from headrace.store.lineage import Lineage
    from headrace.store.live import Live
    from headrace.store.loops import Loops
    from headrace.store.merge import MergeReport
    from headrace.store.runs import Runs
    from headrace.store.versions import Versions

DAY = 86_400.0


class Store:
    """Where artifacts, runs and model versions are kept. Made by `Store.open`; a context manager.

    Threads may share a `Store`; processes each open their own. `root` is the folder, `url` the PostgreSQL URL or None
    for SQLite in the folder.
    """

    def __init__(self, root: Path, url: str | None, database: Database, *, read_only: bool) -> None:
        from headrace.store.artifacts import Artifacts
        from headrace.store.cache import Cache
        from headrace.store.lineage import Lineage
        from headrace.store.live import Live
        from headrace.store.loops import Loops
        from headrace.store.runs import Runs
        from headrace.store.versions import Versions

        self.root = root
        self.url = url
        self.read_only = read_only
        self.database = database
        self.objects = Objects(root, read_only=read_only)
        self.artifacts: Artifacts = Artifacts(database, self.objects)
        self.runs: Runs = Runs(database, self.artifacts, root)
        self.cache: Cache = Cache(database, root)
        self.lineage: Lineage = Lineage(database)
        self.live: Live = Live(database)
        self.loops: Loops = Loops(database, root)
        self.versions: Versions = Versions(database, self.objects, self.artifacts)

    @classmethod
    def open(cls, root: Path, *, url: str | None = None, create: bool = True, read_only: bool = False) -> Self:
        """Open a store, and make it first if there is none and `create` says so.

        Parameters
        ----------
        root
            The folder, usually `.headrace` in the project.
        url
            `postgresql://USER@HOST/DATABASE` for a database that several machines share; the objects stay in `root`,
            which they then share as well. Default: SQLite in `root`.
        create
            Make the store if it is not there; else `NotFoundError`.
        read_only
            Never write, not even to move a damaged object to quarantine.

        Raises
        ------
        StoreError
            The folder or the database cannot be used: full, read-only, on a network file system, damaged.
        StoreFormatError
            It was written by a newer headrace, or it is not a store.
        NotFoundError
            There is no store, and none is to be made.

        """
        root = Path(root)
        identity = folder.read_identity(root)
        if identity is None and (not create or read_only):
            raise folder.missing_store(root)
        if url is None:
            folder.refuse_remote(root)
        if identity is None:
            folder.make_folders(root)

        from headrace.store.database import Database
        from headrace.store.versioning import current_revision, prepare

        if url is None:
            database = Database.sqlite(root, read_only=read_only)
        else:
            database = Database.postgresql(url, read_only=read_only)
        try:
            if identity is None or not current_revision(database, root, identity.id):
                database.require_writable()
                with holding(root / "locks" / "open", never):
                    identity = folder.read_identity(root)
                    made = prepare(database, root, identity.id if identity else None)
                    if identity is None:
                        folder.write_identity(root, folder.Identity(folder.FORMAT, made))
            return cls(root, url, database, read_only=read_only)
        except BaseException:
            database.close()
            raise

    def takes_writes(self) -> bool:
        """Whether anything can be written here: not where it was opened read-only, or lies so."""
        return not self.read_only and self.database.takes_writes() and os.access(self.root / "objects", os.W_OK)

    def fsck(self, *, repair: bool = False) -> FsckReport:
        """Read everything and say what is wrong; see `headrace.store.fsck`."""
        from headrace.store.fsck import check

        return check(self, repair=repair)

    def gc(self, *, dry_run: bool = True, grace: float = 14 * DAY, keep: int = 50) -> GcReport:
        """Remove what nothing needs any more; see `headrace.store.gc`. `grace` in seconds, `keep` in runs."""
        from headrace.store.gc import collect

        return collect(self, dry_run=dry_run, grace=grace, keep=keep)

    def merge(self, other: Path, *, url: str | None = None) -> MergeReport:
        """Take over everything that another store has; see `headrace.store.merge`."""
        from headrace.store.merge import merge

        with Store.open(other, url=url, create=False, read_only=True) as source:
            return merge(source, self)

    def close(self) -> None:
        """Write what is still a draft, and close. Runs that were begun here and did not end count as crashed."""
        try:
            self.artifacts.flush()
        finally:
            self.runs.close()
            self.objects.close()
            self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"
