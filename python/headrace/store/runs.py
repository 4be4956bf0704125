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

from headrace.errors import ArtifactError, FencedError, NotFoundError, StoreError
from headrace.store.database import ConstraintError, from_json, from_number, to_items, to_json, to_number, to_text
from headrace.store.durable import explained
from headrace.store.locks import FileLock, is_held
from headrace.store.objects import checked_digest
from headrace.types import ArtifactRef, RunInfo, RunStatus, StageInfo, StageRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.store.artifacts import Artifacts
    from headrace.store.database import Connection, Database

LEASE_SECONDS = 60.0
_HEXADECIMAL = frozenset("0123456789abcdef")
_ALL = 1 << 62

_ADD_RUN = """
INSERT INTO runs
    (id, ordinal, project, status, "trigger", started, epoch, host, lease_until, spec, provenance)
VALUES
    (:id, :ordinal, :project, :status, :trigger, :started, :epoch, :host, :lease_until, :spec, :provenance)
"""
_RENEW = "UPDATE runs SET lease_until = :until WHERE id = :id AND epoch = :epoch AND status = 'running'"
_MARK_CRASHED = """
UPDATE runs SET status = 'crashed', epoch = epoch + 1, ended = lease_until - :lease
WHERE id = :id AND epoch = :epoch AND status = 'running'
"""
_RUNS = """
SELECT * FROM runs
WHERE id LIKE :beginning AND (CAST(:project AS text) IS NULL OR project = :project) ORDER BY ordinal DESC LIMIT :limit
"""
_ENDED = "SELECT * FROM runs WHERE id IN (SELECT value FROM json_each(:items)) AND status <> 'running'"
_ADD_STAGE = """
INSERT INTO stages
    (run_id, name, position, kind, "use", distribution, version, config, outcome, why, "key", started, ended, attempts,
     error, fingerprint)
VALUES
    (:run_id, :name, (SELECT count(*) FROM stages WHERE run_id = :run_id), :kind, :use, :distribution, :version,
     :config, :outcome, :why, :key, :started, :ended, :attempts, :error, :fingerprint)
"""
_ADD_ARROW = """
INSERT INTO stage_artifacts (run_id, stage, direction, name, position, digest)
VALUES (:run_id, :stage, :direction, :name, :position, :digest)
"""
_ADD_METRIC = """
INSERT INTO metrics (run_id, stage, name, position, value) VALUES (:run_id, :stage, :name, :position, :value)
"""
_PUT_KEY = """
INSERT INTO cache ("key", created) VALUES (:key, :created) ON CONFLICT ("key") DO UPDATE SET created = excluded.created
"""
_ARROWS = """
SELECT s.*, a.type_name, a.size FROM stage_artifacts AS s JOIN artifacts AS a ON a.digest = s.digest
WHERE s.run_id IN (SELECT value FROM json_each(:items)) ORDER BY s.position
"""
_METRICS = "SELECT * FROM metrics WHERE run_id IN (SELECT value FROM json_each(:items)) ORDER BY position"
_STAGES = "SELECT * FROM stages WHERE run_id IN (SELECT value FROM json_each(:items)) ORDER BY position"
_LIVE = "SELECT digest FROM artifacts WHERE digest IN (SELECT value FROM json_each(:items)) AND collected IS NULL"


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
                last = connection.rows("SELECT max(ordinal) AS ordinal FROM runs")[0].ordinal or 0
                row["ordinal"] = max(int(now * 1e6), last + 1)
                row["lease_until"] = self._database.now(connection) + LEASE_SECONDS
                connection.run(_ADD_RUN, row)
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
            connection.run(_ADD_STAGE, _stage_row(handle.id, record))

        def after(connection: Connection) -> None:
            known = {draft.ref.digest for draft in drafts}
            _check_live(connection, {str(row["digest"]) for row in arrows} - known, record.stage.name)
            connection.run(_ADD_ARROW, arrows)
            connection.run(_ADD_METRIC, numbers)
            if cache_key is not None:
                self._remember(connection, cache_key, record.outputs)

        drafts = self._artifacts.drafts_of((*record.inputs.values(), *record.outputs.values()))
        try:
            self._artifacts.commit(drafts, before=before, after=after)
        except ConstraintError as error:
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
                row = {"id": handle.id, "status": status, "ended": time.time()}
                connection.run("UPDATE runs SET status = :status, ended = :ended WHERE id = :id", row)
        finally:
            self._release(handle.id)

    def reap(self) -> list[str]:
        """Mark the runs whose process is dead as crashed; returns their ids. Their commits are refused from now on."""
        crashed = []
        for run_id, epoch in self.dead():
            with self._database.write() as connection:
                marked = connection.run(_MARK_CRASHED, {"id": run_id, "epoch": epoch, "lease": LEASE_SECONDS})
            if marked:
                crashed.append(run_id)
                self._lock_path(run_id).unlink(missing_ok=True)
        return crashed

    def _fence(self, connection: Connection, handle: RunHandle) -> None:
        """Refuse unless the run is still this handle's; renew its lease on the way."""
        until = self._database.now(connection) + LEASE_SECONDS
        with self._held_lock:
            mine = handle.id in self._held  # without its lock, anybody may declare it dead at any moment
        if not mine or not connection.run(_RENEW, {"id": handle.id, "epoch": handle.epoch, "until": until}):
            raise FencedError(
                f"run {handle.id} does not belong to this process any more: it was declared dead, or it has ended",
                hint="Nothing of it was committed since. Run again: it goes on from what was committed before.",
            )

    def _remember(self, connection: Connection, key: str, outputs: Mapping[str, ArtifactRef]) -> None:
        connection.run(_PUT_KEY, {"key": key, "created": time.time()})
        connection.run("DELETE FROM cache_outputs WHERE key = :key", {"key": key})
        rows = [{"key": key, "name": name, "digest": ref.digest} for name, ref in outputs.items()]
        connection.run("INSERT INTO cache_outputs (key, name, digest) VALUES (:key, :name, :digest)", rows)

    # --- who lives ------------------------------------------------------------------------------------------------

    def live(self) -> list[str]:
        """The runs that are under way, by id."""
        dead = {run_id for run_id, _ in self.dead()}
        with self._database.read() as connection:
            rows = connection.rows("SELECT id FROM runs WHERE status = 'running'")
        return [row.id for row in rows if row.id not in dead]

    def dead(self) -> Owners:
        """Running runs whose owner is dead: (id, epoch)."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            rows = connection.rows("SELECT id, epoch, host, lease_until FROM runs WHERE status = 'running'")
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
        if which == "latest":
            rows = self.list(1, project)
            if not rows:
                raise NotFoundError("there is no run yet", hint="Start one: headrace run")
            return rows[0]
        known = bool(which) and set(which) <= _HEXADECIMAL
        found = self._rows(_RUNS, limit=6, project=project, beginning=f"{which}%") if known else []
        if not found:
            raise NotFoundError(f"there is no run {which!r:.60}", hint="See `headrace runs list`.")
        if len(found) > 1:
            listed = ", ".join(info.id for info in found[:5]) + (", ..." if len(found) > 5 else "")
            raise NotFoundError(f"{which!r} is the beginning of several runs: {listed}", hint="Write more of the id.")
        return found[0]

    def list(self, limit: int | None = 20, project: str | None = None) -> Infos:
        """The latest runs, newest first. A dead one is shown as crashed."""
        return self._rows(_RUNS, limit=_ALL if limit is None else limit, project=project, beginning="%")

    def spec(self, run_id: str) -> Mapping[str, Any]:
        """The spec that a run was begun with. `run_id` is complete. Raises `NotFoundError`."""
        with self._database.read() as connection:
            rows = connection.rows("SELECT spec FROM runs WHERE id = :id", id=run_id)
        if not rows:
            raise NotFoundError(f"there is no run {run_id!r:.60}")
        spec: Mapping[str, Any] = from_json(rows[0].spec)
        return spec

    def _rows(self, query: str, **parameters: Any) -> Infos:
        with self._database.read() as connection:
            rows = connection.rows(query, **parameters)
            now = self._database.now(connection)
            stages = read_stages(connection, [row.id for row in rows])
        suspects = [r.id for r in rows if r.status == "running" and self._is_dead(r.id, r.host, r.lease_until, now)]
        ended: dict[str, Any] = {}
        if suspects:  # one that finished between our query and our look at its lock is not dead
            with self._database.read() as connection:
                ended = {row.id: row for row in connection.rows(_ENDED, items=to_items(suspects))}
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
    items = to_items(run_ids)
    for row in connection.rows(_ARROWS, items=items):
        place = refs.setdefault((row.run_id, row.stage, row.direction), {})
        place[row.name] = ArtifactRef(row.digest, row.type_name, row.size)
    numbers: dict[tuple[str, str], dict[str, float]] = {}
    for row in connection.rows(_METRICS, items=items):
        numbers.setdefault((row.run_id, row.stage), {})[row.name] = from_number(row.value)
    found: dict[str, list[StageRecord]] = {}
    for row in connection.rows(_STAGES, items=items):
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


def stage_info(row: Any) -> StageInfo:
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


def _info(row: Any, status: RunStatus, stages: tuple[StageRecord, ...]) -> RunInfo:
    ended = row.ended
    if status == "crashed" and ended is None:
        ended = row.lease_until - LEASE_SECONDS  # when it was last heard of
    return RunInfo(row.id, row.project, status, row.started, ended, row.trigger, stages, from_json(row.provenance))


def _check_live(connection: Connection, digests: set[str], stage: str) -> None:
    """Refuse a record of artifacts that are not here: a reference must never dangle."""
    if not digests:
        return
    gone = digests - {row.digest for row in connection.rows(_LIVE, items=to_items(digests))}
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
