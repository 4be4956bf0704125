"""Runs: what was executed, what came of it, and whether the process that does it still lives.

A run belongs to the process that created it, by two tokens. On its own machine that process holds an OS lock, so its
death shows at once. For others there is a lease by the database's clock, renewed by each heartbeat and each commit.
Whoever declares a run dead raises its epoch; a commit under an old epoch is refused.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from headrace.errors import ArtifactError, FencedError, NotFoundError, StoreError
from headrace.store import schema
from headrace.store.database import from_json, from_number, to_json, to_number, to_text
from headrace.store.durable import explained
from headrace.store.locks import FileLock, is_held
from headrace.store.objects import checked_digest
from headrace.types import ArtifactRef, RunInfo, RunStatus, StageInfo, StageRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.engine import Connection, Row

    from headrace.store.artifacts import Artifacts
    from headrace.store.database import Database

LEASE_SECONDS = 60.0
_HEXADECIMAL = frozenset("0123456789abcdef")


# What every commit says, put together once.
_RENEW = (
    schema.runs.update()
    .where(
        schema.runs.c.id == sa.bindparam("of_run"),
        schema.runs.c.epoch == sa.bindparam("of_epoch"),
        schema.runs.c.status == "running",
    )
    .values(lease_until=sa.bindparam("until"))
)
_ADD_STAGE = schema.stages.insert().values(
    position=sa.select(sa.func.count()).where(schema.stages.c.run_id == sa.bindparam("of_run")).scalar_subquery()
)
_FORGET_OUTPUTS = schema.cache_outputs.delete().where(schema.cache_outputs.c.key == sa.bindparam("old_key"))


@dataclass(frozen=True)
class RunHandle:
    """The right to write to a run. `epoch` is the fencing token: a commit under another one is refused."""

    id: str
    epoch: int


@dataclass(frozen=True)
class LogLine:
    """One line that a stage said; `at` in seconds since the epoch."""

    stage: str
    line: str
    at: float


Infos = list[RunInfo]  # `list` is also the name of a method below
LogLines = list[LogLine]
Owners = list[tuple[str, int]]


class Runs:
    """The runs of a store."""

    def __init__(self, database: Database, artifacts: Artifacts, root: Path) -> None:
        self._database = database
        self._artifacts = artifacts
        self._root = root
        self._held: dict[str, FileLock] = {}
        self._held_lock = threading.Lock()

    # --- the life of a run ----------------------------------------------------------------------------------------

    def create(
        self, project: str, trigger: str, spec: Mapping[str, Any], provenance: Mapping[str, Any] | None = None
    ) -> RunHandle:
        """Begin a run. This process owns it until `finish`, or until it dies."""
        self._database.require_writable()
        lock = FileLock.fresh(lambda: self._lock_path(secrets.token_hex(6)))
        run_id = lock.path.stem.removeprefix("run-")
        now = time.time()
        row = {
            "id": run_id,
            "project": to_text(project),
            "status": "running",
            "trigger": to_text(trigger),
            "started": now,
            "epoch": 1,
            "host": _host(),
            "spec": to_json(spec),
            "provenance": to_json(provenance or {}),
        }
        try:
            with self._database.write() as connection:
                self._database.share(connection)
                last = connection.execute(sa.select(sa.func.max(schema.runs.c.ordinal))).scalar_one() or 0
                row["ordinal"] = max(int(now * 1e6), last + 1)
                row["lease_until"] = self._database.now(connection) + LEASE_SECONDS
                connection.execute(schema.runs.insert(), row)
        except BaseException:
            lock.release()
            raise
        with self._held_lock:
            self._held[run_id] = lock
        return RunHandle(run_id, 1)

    def heartbeat(self, handle: RunHandle) -> None:
        """Renew the lease. Raises `FencedError` if the run was taken from this process."""
        with self._database.write() as connection:
            self._fence(connection, handle)

    def commit_stage(self, handle: RunHandle, record: StageRecord, *, cache_key: str | None) -> None:
        """Record what became of a stage, and remember its outputs under `cache_key`, in one transaction.

        Raises `FencedError` if the run was taken from this process, `ArtifactError` if an artifact that the record
        names is not in the store, `StoreError` if this run has a record of the stage already.
        """
        if cache_key is not None:
            checked_digest(cache_key)
        where = {"run_id": handle.id, "stage": record.stage.name}
        refs = [("input", record.inputs), ("output", record.outputs)]
        arrows = [
            {**where, "direction": direction, "name": name, "position": i, "digest": ref.digest}
            for direction, named in refs
            for i, (name, ref) in enumerate(named.items())
        ]
        numbers = [
            {**where, "name": name, "position": i, "value": to_number(value)}
            for i, (name, value) in enumerate(record.metrics.items())
        ]

        def before(connection: Connection) -> None:
            self._fence(connection, handle)
            connection.execute(_ADD_STAGE, {**_stage_row(handle.id, record), "of_run": handle.id})

        def after(connection: Connection) -> None:
            known = {draft.ref.digest for draft in drafts}
            _check_live(connection, {str(row["digest"]) for row in arrows} - known, record.stage.name)
            if arrows:
                connection.execute(schema.stage_artifacts.insert(), arrows)
            if numbers:
                connection.execute(schema.metrics.insert(), numbers)
            if cache_key is not None:
                self._remember(connection, cache_key, record.outputs)

        drafts = self._artifacts.drafts_of((*record.inputs.values(), *record.outputs.values()))
        try:
            self._artifacts.commit(drafts, before=before, after=after)
        except IntegrityError as error:
            raise StoreError(
                f"run {handle.id} has a record of this stage already",
                place=f"stage {record.stage.name}",
                hint="A stage ends once in a run: begin another run.",
            ) from error

    def finish(self, handle: RunHandle, status: RunStatus) -> None:
        """End a run. Raises `FencedError` if it was taken from this process."""
        try:
            with self._database.write() as connection:
                self._fence(connection, handle)
                here = schema.runs.c.id == handle.id
                connection.execute(schema.runs.update().where(here).values(status=status, ended=time.time()))
        finally:
            self._release(handle.id)

    def reap(self) -> list[str]:
        """Mark the runs whose process is dead as crashed; returns their ids. Their commits are refused from now on."""
        crashed = []
        for run_id, epoch in self.dead():
            table = schema.runs
            still = sa.and_(table.c.id == run_id, table.c.epoch == epoch, table.c.status == "running")
            with self._database.write() as connection:
                values = {"status": "crashed", "epoch": epoch + 1, "ended": table.c.lease_until - LEASE_SECONDS}
                marked = connection.execute(table.update().where(still).values(values)).rowcount
            if marked:
                crashed.append(run_id)
                self._lock_path(run_id).unlink(missing_ok=True)
        return crashed

    def _fence(self, connection: Connection, handle: RunHandle) -> None:
        """Refuse unless the run is still this handle's; renew its lease on the way."""
        values = {
            "of_run": handle.id,
            "of_epoch": handle.epoch,
            "until": self._database.now(connection) + LEASE_SECONDS,
        }
        if not connection.execute(_RENEW, values).rowcount:
            raise FencedError(
                f"run {handle.id} does not belong to this process any more: it was declared dead, or it has ended",
                hint="Nothing of it was committed since. Run again: it goes on from what was committed before.",
            )

    def _remember(self, connection: Connection, key: str, outputs: Mapping[str, ArtifactRef]) -> None:
        connection.execute(self._database.upsert(schema.cache, "created"), {"key": key, "created": time.time()})
        connection.execute(_FORGET_OUTPUTS, {"old_key": key})
        rows = [{"key": key, "name": name, "digest": ref.digest} for name, ref in outputs.items()]
        if rows:
            connection.execute(schema.cache_outputs.insert(), rows)

    # --- who lives ------------------------------------------------------------------------------------------------

    def live(self) -> list[str]:
        """The runs that are under way, by id."""
        dead = {run_id for run_id, _ in self.dead()}
        query = sa.select(schema.runs.c.id).where(schema.runs.c.status == "running")
        with self._database.read() as connection:
            return [run_id for run_id in connection.execute(query).scalars() if run_id not in dead]

    def dead(self) -> Owners:
        """Running runs whose owner is dead: (id, epoch)."""
        table = schema.runs
        query = sa.select(table.c.id, table.c.epoch, table.c.host, table.c.lease_until)
        with self._database.read() as connection:
            now = self._database.now(connection)
            rows = connection.execute(query.where(table.c.status == "running")).all()
        return [(row.id, row.epoch) for row in rows if self._is_dead(row.id, row.host, row.lease_until, now)]

    def _is_dead(self, run_id: str, host: str, lease_until: float, now: float) -> bool:
        if is_held(self._lock_path(run_id)):
            return False  # paused, perhaps; but it can go on
        return host == _host() or lease_until < now

    # --- reading --------------------------------------------------------------------------------------------------

    def get(self, which: str, *, project: str | None = None) -> RunInfo:
        """A run by id, by the unique beginning of an id, or `"latest"`. A dead one is shown as crashed.

        Raises `NotFoundError` if there is none, or more than one of that beginning.
        """
        table = schema.runs
        query = sa.select(table).order_by(table.c.ordinal.desc())
        if project is not None:
            query = query.where(table.c.project == project)
        if which == "latest":
            rows = self._rows(query.limit(1))
            if not rows:
                raise NotFoundError("there is no run yet", hint="Start one: headrace run")
            return rows[0]
        known = bool(which) and set(which) <= _HEXADECIMAL
        found = self._rows(query.where(table.c.id.startswith(which)).limit(6)) if known else []
        if not found:
            raise NotFoundError(f"there is no run {which!r:.60}", hint="See `headrace runs list`.")
        if len(found) > 1:
            listed = ", ".join(info.id for info in found[:5]) + (", ..." if len(found) > 5 else "")
            raise NotFoundError(f"{which!r} is the beginning of several runs: {listed}", hint="Write more of the id.")
        return found[0]

    def list(self, limit: int | None = 20, project: str | None = None) -> Infos:
        """The latest runs, newest first. A dead one is shown as crashed."""
        table = schema.runs
        query = sa.select(table).order_by(table.c.ordinal.desc()).limit(limit)
        return self._rows(query if project is None else query.where(table.c.project == project))

    def spec(self, run_id: str) -> Mapping[str, Any]:
        """The spec that a run was begun with. `run_id` is complete. Raises `NotFoundError`."""
        query = sa.select(schema.runs.c.spec).where(schema.runs.c.id == run_id)
        with self._database.read() as connection:
            text = connection.execute(query).scalar_one_or_none()
        if text is None:
            raise NotFoundError(f"there is no run {run_id!r:.60}")
        spec: Mapping[str, Any] = from_json(text)
        return spec

    def _rows(self, query: sa.Select[Any]) -> Infos:
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            now = self._database.now(connection)
            stages = read_stages(connection, [row.id for row in rows])
        suspects = [r.id for r in rows if r.status == "running" and self._is_dead(r.id, r.host, r.lease_until, now)]
        ended: dict[str, Row[Any]] = {}
        if suspects:  # one that finished between our query and our look at its lock is not dead
            table = schema.runs
            with self._database.read() as connection:
                over = sa.and_(table.c.id.in_(suspects), table.c.status != "running")
                again = connection.execute(sa.select(table).where(over))
                ended = {row.id: row for row in again}
                if ended:
                    stages |= read_stages(connection, list(ended))
        infos = []
        for row in rows:
            now_row = ended.get(row.id, row)
            dead = row.id in suspects and row.id not in ended
            infos.append(_info(now_row, "crashed" if dead else now_row.status, stages.get(row.id, ())))
        return infos

    # --- what stages say ------------------------------------------------------------------------------------------

    def append_log(self, handle: RunHandle, stage: str, lines: Sequence[str]) -> None:
        """Add lines to the run's log. They are not flushed: a power cut may lose the last ones."""
        now = time.time()
        body = "".join(json.dumps({"stage": stage, "line": line, "at": now}) + "\n" for line in lines)
        path = self._log_path(handle.id)
        with explained(path, "write the run's log"):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                rest = body.encode()
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            finally:
                os.close(descriptor)

    def read_log(self, run_id: str) -> LogLines:
        """The log of a run, oldest line first; `run_id` is complete. Empty if nothing was said."""
        path = self._log_path(run_id)
        with explained(path, "read the run's log"):
            text = path.read_text(encoding="utf-8") if path.exists() else ""
        found = []
        for line in text.splitlines():
            if line.endswith("}"):  # a power cut may leave half a line
                entry = json.loads(line)
                found.append(LogLine(entry["stage"], entry["line"], entry["at"]))
        return found

    def close(self) -> None:
        """Let go of the runs that were not finished."""
        with self._held_lock:
            for lock in self._held.values():
                lock.release(unlink=False)
            self._held.clear()

    def _release(self, run_id: str) -> None:
        with self._held_lock:
            lock = self._held.pop(run_id, None)
        if lock is not None:
            lock.release()

    def _lock_path(self, run_id: str) -> Path:
        return self._root / "locks" / f"run-{_checked_id(run_id)}.lock"

    def _log_path(self, run_id: str) -> Path:
        return self._root / "runs" / f"{_checked_id(run_id)}.log"


# --- rows and values ------------------------------------------------------------------------------------------------


def read_stages(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[StageRecord, ...]]:
    """The stage records of runs, in the order of their commits."""
    if not run_ids:
        return {}
    refs: dict[tuple[str, str, str], dict[str, ArtifactRef]] = {}
    arrow, artifact = schema.stage_artifacts, schema.artifacts
    query = sa.select(arrow, artifact.c.type_name, artifact.c.size).join(artifact, artifact.c.digest == arrow.c.digest)
    for row in connection.execute(query.where(arrow.c.run_id.in_(run_ids)).order_by(arrow.c.position)):
        place = refs.setdefault((row.run_id, row.stage, row.direction), {})
        place[row.name] = ArtifactRef(row.digest, row.type_name, row.size)
    numbers: dict[tuple[str, str], dict[str, float]] = {}
    metric = schema.metrics
    for row in connection.execute(sa.select(metric).where(metric.c.run_id.in_(run_ids)).order_by(metric.c.position)):
        numbers.setdefault((row.run_id, row.stage), {})[row.name] = from_number(row.value)
    found: dict[str, list[StageRecord]] = {}
    table = schema.stages
    for row in connection.execute(sa.select(table).where(table.c.run_id.in_(run_ids)).order_by(table.c.position)):
        record = StageRecord(
            stage=stage_info(row),
            outcome=row.outcome,
            why=row.why,
            key=row.key,
            started=row.started,
            ended=row.ended,
            attempts=row.attempts,
            inputs=refs.get((row.run_id, row.name, "input"), {}),
            outputs=refs.get((row.run_id, row.name, "output"), {}),
            metrics=numbers.get((row.run_id, row.name), {}),
            error=row.error,
            fingerprint=from_json(row.fingerprint),
        )
        found.setdefault(row.run_id, []).append(record)
    return {run_id: tuple(records) for run_id, records in found.items()}


def stage_info(row: Row[Any]) -> StageInfo:
    """The `StageInfo` of a row of `stages`."""
    return StageInfo(row.name, row.kind, row.use, row.distribution, row.version, from_json(row.config))


def _stage_row(run_id: str, record: StageRecord) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "name": record.stage.name,
        "kind": record.stage.kind,
        "use": record.stage.use,
        "distribution": record.stage.distribution,
        "version": record.stage.version,
        "config": to_json(record.stage.config),
        "outcome": record.outcome,
        "why": to_text(record.why),
        "key": record.key,
        "started": record.started,
        "ended": record.ended,
        "attempts": record.attempts,
        "error": to_text(record.error),
        "fingerprint": to_json(record.fingerprint),
    }


def _info(row: Row[Any], status: RunStatus, stages: tuple[StageRecord, ...]) -> RunInfo:
    ended = row.ended
    if status == "crashed" and ended is None:
        ended = row.lease_until - LEASE_SECONDS  # when it was last heard of
    return RunInfo(row.id, row.project, status, row.started, ended, row.trigger, stages, from_json(row.provenance))


def _check_live(connection: Connection, digests: set[str], stage: str) -> None:
    """Refuse a record of artifacts that are not here: a reference must never dangle."""
    if not digests:
        return
    table = schema.artifacts
    query = sa.select(table.c.digest).where(table.c.digest.in_(sorted(digests)), table.c.collected.is_(None))
    gone = digests - set(connection.execute(query).scalars())
    if gone:
        raise ArtifactError(
            f"an artifact of this stage is not in the store: {min(gone)}",
            place=f"stage {stage}",
            hint="If `headrace store gc` just ran, run again.",
        )


def _checked_id(run_id: str) -> str:
    if not run_id or not set(run_id) <= _HEXADECIMAL or len(run_id) > 64:
        raise NotFoundError(f"{run_id!r:.60} is not the id of a run")
    return run_id


def _host() -> str:
    return socket.gethostname()
