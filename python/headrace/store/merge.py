"""Merging: one store takes over what another one has.

Runs, artifacts and cache entries keep their names, which are unique by construction. Versions of a model that only the
other store has keep their numbers, aliases and history. Versions of a model that both have get the next numbers here,
where their package is not here already; the aliases here stay where they are.

The log of a loop is a chain of hashes: it comes over whole, entry by entry as it was written, or not at all. Two logs
of one project that went apart cannot become one without being written anew, which the chain is there to show.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from headrace.errors import CorruptObjectError, NotFoundError, StoreError
from headrace.store import schema
from headrace.store.loops import ORIGIN, check_chain
from headrace.store.versions import manifest_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headrace.store.database import Connection
    from headrace.store.store import Store

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class MergeReport:
    """What was taken over: counts, `versions` as (model, number there, number here), and projects whose log came over.

    `skipped`: what was not, and why, as sentences.
    """

    objects: int
    bytes: int
    artifacts: int
    runs: int
    cache_entries: int
    versions: tuple[tuple[str, int, int], ...]
    logs: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass
class _Merge:
    """One merge under way. `lost` are objects that the other store does not have whole."""

    source: Store
    target: Store
    rows: Mapping[str, Rows]
    lost: set[str] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0


def merge(source: Store, target: Store) -> MergeReport:
    """Take over what `source` has into `target`. `source` is only read; runs under way there are left out.

    Raises `StoreError` if the two are the same, or if `target` cannot be written; nothing is half-merged then.
    """
    if source.root.resolve() == target.root.resolve():
        raise StoreError("a store cannot be merged with itself", place=str(target.root))
    live = set(source.runs.live())
    with source.database.read() as connection:
        rows = {table.name: _all(connection, table) for table in schema.metadata.sorted_tables}
    work = _Merge(source, target, rows)
    _copy_objects(work)
    target.artifacts.flush()
    with target.database.write() as connection:
        target.database.share(connection)
        artifacts = _add_artifacts(work, connection)
        runs = _add_runs(work, connection, live)
        cached = _add_cache(work, connection)
        _add_served(work, connection)
        versions = _add_versions(work, connection)
        logs = _add_logs(work, connection)
    return MergeReport(
        objects=work.objects,
        bytes=work.bytes,
        artifacts=artifacts,
        runs=runs,
        cache_entries=cached,
        versions=tuple(versions),
        logs=tuple(logs),
        skipped=tuple(work.skipped),
    )


def _all(connection: Connection, table: sa.Table) -> Rows:
    return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def _copy_objects(work: _Merge) -> None:
    """Bring over every object that a row there speaks of, checked on the way."""
    sizes = {row["sha256"]: row["size"] for row in work.rows["parts"] if row["inline"] is None}
    sizes |= {row["sha256"]: row["size"] for row in work.rows["package_files"]}
    for sha256, size in sorted(sizes.items()):
        if work.target.objects.has(sha256, size):
            continue
        try:
            work.target.objects.put_file(work.source.objects.open_path(sha256))
        except (NotFoundError, CorruptObjectError) as error:
            work.lost.add(sha256)
            work.skipped.append(f"object {sha256}: {error.message}")
        else:
            work.objects += 1
            work.bytes += size


def _add_artifacts(work: _Merge, connection: Connection) -> int:
    table = schema.artifacts
    here = {row.digest: row.collected for row in connection.execute(sa.select(table.c.digest, table.c.collected))}
    parts: dict[str, Rows] = {}
    for row in work.rows["parts"]:
        parts.setdefault(row["digest"], []).append(row)
    now, count = time.time(), 0
    for row in work.rows["artifacts"]:
        digest, own = row["digest"], parts.get(row["digest"], [])
        whole = row["collected"] is None and not any(part["sha256"] in work.lost for part in own)
        if digest in here and (here[digest] is None or not whole):
            continue
        values = {**row, "touched": now, "collected": None if whole else row["collected"] or now}
        if digest in here:
            connection.execute(table.update().where(table.c.digest == digest).values(values))
        else:
            connection.execute(table.insert(), values)
        if whole:
            _insert(work, connection, schema.parts, own)
            count += 1
    return count


def _add_served(work: _Merge, connection: Connection) -> None:
    """Labels; and live windows of models that are not here, whose versions keep their numbers."""
    here = set(connection.execute(sa.select(schema.models.c.name)).scalars())
    windows = [row for row in work.rows["live_windows"] if row["model"] not in here]
    if len(windows) < len(work.rows["live_windows"]):
        work.skipped.append("live windows of models that both have: their versions may have other numbers here")
    for table, rows in (
        (schema.live_windows, windows),
        *((t, work.rows[t.name]) for t in (schema.label_files, schema.labels)),
    ):
        if rows:
            connection.execute(work.target.database.insert_new(table), rows)


def _add_runs(work: _Merge, connection: Connection, live: set[str]) -> int:
    here = set(connection.execute(sa.select(schema.runs.c.id)).scalars())
    new: dict[str, dict[str, Any]] = {}
    for row in work.rows["runs"]:
        if row["id"] in live:
            work.skipped.append(f"run {row['id']}: it is under way")
        elif row["id"] not in here:
            dead = row["status"] == "running"
            new[row["id"]] = {**row, "status": "crashed", "ended": time.time()} if dead else row
    _insert(work, connection, schema.runs, new.values())
    for table, column in ((schema.stages, "run_id"), (schema.stage_artifacts, "run_id"), (schema.metrics, "run_id")):
        _insert(work, connection, table, [row for row in work.rows[table.name] if row[column] in new])
    return len(new)


def _add_cache(work: _Merge, connection: Connection) -> int:
    """Cache entries whose outputs are all here now."""
    table = schema.artifacts
    known = set(connection.execute(sa.select(schema.cache.c.key)).scalars())
    whole = set(connection.execute(sa.select(table.c.digest).where(table.c.collected.is_(None))).scalars())
    outputs: dict[str, Rows] = {}
    for row in work.rows["cache_outputs"]:
        outputs.setdefault(row["key"], []).append(row)
    new = [
        row
        for row in work.rows["cache"]
        if row["key"] not in known and all(o["digest"] in whole for o in outputs.get(row["key"], []))
    ]
    _insert(work, connection, schema.cache, new)
    _insert(work, connection, schema.cache_outputs, [o for row in new for o in outputs.get(row["key"], [])])
    return len(new)


def _add_versions(work: _Merge, connection: Connection) -> list[tuple[str, int, int]]:
    model, version = schema.models, schema.versions
    last = {row.name: row.last_number for row in connection.execute(sa.select(model))}
    packages = {
        (row.model, row.package): row.number
        for row in connection.execute(sa.select(version.c.model, version.c.package, version.c.number))
    }
    shared = set(last)
    taken = []
    for row in sorted(work.rows["versions"], key=lambda row: (row["model"], row["number"])):
        name, number = row["model"], row["number"]
        lost = sorted(file for file, (sha256, _) in manifest_files(row["manifest"]).items() if sha256 in work.lost)
        if lost:
            work.skipped.append(f"version {name}@{number}: its file {lost[0]} is missing or damaged there")
            continue
        if (name, row["package"]) in packages:
            continue
        if name not in last:
            _insert(work, connection, model, [{"name": name, "last_number": 0}])
        chosen = last.get(name, 0) + 1 if name in shared else number
        last[name] = max(last.get(name, 0), chosen)
        _insert(work, connection, version, [{**row, "number": chosen}])
        files = [f for f in work.rows["package_files"] if f["package"] == row["package"]]
        connection.execute(work.target.database.insert_new(schema.package_files), files)
        taken.append((name, number, chosen))
    for name, number in last.items():
        connection.execute(model.update().where(model.c.name == name).values(last_number=number))
    here = {(name, number) for name, _, number in taken}
    for table in (schema.aliases, schema.alias_history):
        rows = [row for row in work.rows[table.name] if row["model"] not in shared]
        _insert(work, connection, table, [row for row in rows if (row["model"], row["number"]) in here])
    for name in sorted(shared & {row["model"] for row in work.rows["aliases"]}):
        work.skipped.append(f"aliases of {name}: those here stay where they are")
    return taken


def _add_logs(work: _Merge, connection: Connection) -> list[str]:
    """Logs of loops that are not here, as they are there; said of each other one why it stays there."""
    heads, log = schema.loops, schema.loop_log
    here = set(connection.execute(sa.select(heads.c.project).where(heads.c.last_seq > 0)).scalars())
    taken = []
    for state in sorted(work.rows["loops"], key=lambda row: row["project"]):
        name = state["project"]
        rows = sorted((r for r in work.rows["loop_log"] if r["project"] == name), key=lambda row: row["seq"])
        if not rows:
            continue
        against = _against_log(connection, name, rows, state, here=name in here)
        if against is None:
            at_rest = {**state, "last_seq": 0, "head": ORIGIN, "epoch": 0, "host": "", "lease_until": 0.0}
            connection.execute(work.target.database.insert_new(heads), [at_rest])
            chain = {"last_seq": state["last_seq"], "head": state["head"]}
            connection.execute(heads.update().where(heads.c.project == name).values(chain))
            _insert(work, connection, log, rows)
            taken.append(name)
        elif against:
            work.skipped.append(f"the log of the loop of {name}: {against}")
    return taken


def _against_log(connection: Connection, name: str, rows: Rows, state: Mapping[str, Any], *, here: bool) -> str | None:
    """Why a log does not come over; None: it does; empty: nothing of it is missing here."""
    head, wrong = check_chain(rows)
    if wrong is not None or (head, len(rows)) != (state["head"], state["last_seq"]):
        return f"its chain does not hold there ({wrong or 'its end is missing'})"
    if here:
        found = connection.execute(sa.select(schema.loop_log).where(schema.loop_log.c.project == name)).mappings()
        ours = [row["hash"] for row in sorted(found, key=lambda row: row["seq"])]
        theirs = [row["hash"] for row in rows]
        if ours[: len(theirs)] == theirs:
            return ""
        same = sum(1 for a, b in zip(ours, theirs, strict=False) if a == b)
        return (
            f"both have one, and they differ from entry {same + 1} on; chained entries cannot be put together. The one "
            "here stays, and the other stays in its store"
        )
    version = schema.versions
    known = {(row.number, row.package) for row in connection.execute(sa.select(version.c.number, version.c.package))}
    for row in rows:
        body = json.loads(row["body"]) if row["kind"] == "trained" else {}
        if body.get("version") is not None and (body["version"], body["package"]) not in known:
            return (
                f"entry {row['seq']} speaks of version {body['version']}, which has another number here or is not here"
            )
    return None


def _insert(work: _Merge, connection: Connection, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows; the objects that they speak of must be here, and nobody can remove any now."""
    items: Sequence[Mapping[str, Any]] = list(rows)
    for row in items:
        if table is schema.parts and row["inline"] is None and not work.target.objects.has(row["sha256"], row["size"]):
            raise StoreError(
                "an object was removed while the stores were merged",
                place=f"object {row['sha256']}",
                hint="Nothing was merged. Do not run `headrace store gc --grace 0` meanwhile; merge again.",
            )
    if items:
        connection.execute(table.insert(), items)
