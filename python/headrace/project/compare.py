"""Two runs side by side, and one beside the run before it: what differs, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from headrace.pipeline.keys import differences

if TYPE_CHECKING:
    from headrace.store import Store
    from headrace.types import RunInfo

_NEAR = 50
Section = Literal["params", "metrics", "data", "code", "distributions", "environment"]


@dataclass(frozen=True)
class Compared:
    """One thing of two runs; None where a run does not have it."""

    section: Section
    name: str
    left: Any
    right: Any

    @property
    def same(self) -> bool:
        """Equal in type and value."""
        return type(self.left) is type(self.right) and self.left == self.right


def compare_runs(left: RunInfo, right: RunInfo) -> tuple[Compared, ...]:
    """Everything recorded of both, equal or not: section by section, in each by name.

    `params` are the stages' configs and seeds, `metrics` what stages recorded (not the points of series), `data` the
    content digests of what each stage gave and what it read from outside, `code` the commit and each stage's sources.
    """
    found: list[Compared] = []
    for section, parts in (
        ("params", _params),
        ("metrics", _metrics),
        ("data", _data),
        ("code", _code),
        ("distributions", _distributions),
        ("environment", _environment),
    ):
        one, other = parts(left), parts(right)
        found += [
            Compared(section, name, one.get(name), other.get(name))  # type: ignore[arg-type]  # the literals above
            for name in sorted({*one, *other})
        ]
    return tuple(found)


@dataclass(frozen=True)
class Explained:
    """A run beside the run before it: per stage, all that changed, and what it said. `before` is that run's id."""

    info: RunInfo
    before: str | None
    changes: Mapping[str, Sequence[str]]
    log: Mapping[str, Sequence[str]]


def explain_run(store: Store, info: RunInfo) -> Explained:
    """Say what changed for each stage of `info` since the run of the same project before it."""
    before = _run_before(store, info)
    earlier = {r.stage.name: r.fingerprint for r in before.stages if r.fingerprint} if before else {}
    changes = {
        record.stage.name: differences(dict(earlier[record.stage.name]), dict(record.fingerprint))
        if record.fingerprint and record.stage.name in earlier
        else []
        for record in info.stages
    }
    log: dict[str, list[str]] = {}
    for entry in store.runs.read_log(info.id):
        log.setdefault(entry.stage, []).append(entry.line)
    return Explained(info, before.id if before else None, changes, log)


def _run_before(store: Store, info: RunInfo) -> RunInfo | None:
    for limit in (_NEAR, None):  # mostly it is a recent run, and reading all of them takes its time
        found = store.runs.list(limit=limit, project=info.project)
        position = next((i for i, candidate in enumerate(found) if candidate.id == info.id), len(found))
        if position + 1 < len(found):
            return found[position + 1]
    return None


def _params(info: RunInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in info.stages:
        name = record.stage.name
        found[f"{name}.use"] = record.stage.use
        found |= _flat(name, record.stage.config)
        if "seed" in record.fingerprint:
            found["seed"] = record.fingerprint["seed"]
    return found


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(f"{prefix}.{key}", inner)
    return found


def _metrics(info: RunInfo) -> dict[str, Any]:
    return {
        f"{record.stage.name}.{name}": value
        for record in info.stages
        for name, value in record.metrics.items()
        if "@" not in name
    }


def _data(info: RunInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in info.stages:
        for name, ref in record.outputs.items():
            found[f"{record.stage.name}.{name}"] = ref.digest
        if record.fingerprint.get("external") is not None:
            found |= _flat(f"{record.stage.name} reads", record.fingerprint["external"])
    return found


def _code(info: RunInfo) -> dict[str, Any]:
    git: Any = info.provenance.get("git") or {}
    found = {f"git {key}": git[key] for key in ("commit", "dirty") if key in git}
    for record in info.stages:
        source = record.fingerprint.get("source")
        if isinstance(source, Mapping):
            found |= dict(source)
        found[f"{record.stage.name} is from"] = f"{record.stage.distribution} {record.stage.version}".strip()
    return found


def _distributions(info: RunInfo) -> dict[str, Any]:
    found: Any = info.provenance.get("distributions") or {}
    return dict(found)


def _environment(info: RunInfo) -> dict[str, Any]:
    return {key: info.provenance.get(key) for key in ("python", "platform", "machine", "cpus", "who")}
