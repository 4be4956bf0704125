"""Lineage: what made an artifact, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headrace.errors import ArtifactError, NotFoundError
from headrace.registry import Registry
from headrace.store import Store
from headrace.types import Params, StageRecord


def test_both_ways(store: Store, record: Callable[..., StageRecord]) -> None:
    data, left, right, model = (store.artifacts.save(Params({"n": n})) for n in range(4))
    ids = []
    for outcome in ("executed", "cached"):
        handle = store.runs.create("flights", "manual", {})
        ids.append(handle.id)
        for stage in (
            record("ingest", {}, {"data": data}, outcome=outcome),
            record("split", {"data": data}, {"train": left, "test": right}, outcome=outcome),
            record("train", {"train": left, "again": left}, {"model": model}, outcome=outcome),
            record("evaluate", {"model": model, "test": right}, {}, outcome="failed", error="x"),
        ):
            store.runs.commit_stage(handle, stage, cache_key=None)
        store.runs.finish(handle, "failed")
    made = store.lineage.producers(model.digest)
    assert [(step.run_id, step.stage.name, step.outcome) for step in made] == [
        (ids[0], "train", "executed"),
        (ids[1], "train", "cached"),
    ]
    assert made[0].inputs == {"train": left, "again": left}
    assert made[0].outputs == {"model": model}
    assert made[0].project == "flights"
    used = store.lineage.consumers(data.digest)
    assert [(step.run_id, step.stage.name) for step in used] == [(ids[1], "split"), (ids[0], "split")]
    assert used[0].outputs == {"train": left, "test": right}
    assert [step.stage.name for step in store.lineage.consumers(left.digest, limit=1)] == ["train"]
    assert store.lineage.consumers(store.artifacts.save(Params({"n": 9})).digest) == []
    registry = Registry(store, who="somebody")
    version = registry.register("flights", {"model.onnx": b"x"}, about={}, model_digest=model.digest)
    assert store.lineage.versions(model.digest) == [version]
    assert store.lineage.versions(data.digest) == []


def test_resolve(store: Store) -> None:
    refs = [store.artifacts.save(Params({"n": n})) for n in range(30)]
    store.artifacts.flush()
    for ref in refs:
        assert store.lineage.resolve(ref.digest) == ref.digest
        assert store.lineage.resolve(ref.digest[:12]) == ref.digest
    for nothing in ("", "abc", "zzzz", "%%%%", "____", "../..", "0" * 65, "0" * 60, refs[0].digest[:8].upper()):
        if nothing == refs[0].digest[:8]:
            continue
        with pytest.raises(NotFoundError):
            store.lineage.resolve(nothing)
    with pytest.raises(ArtifactError):
        store.lineage.producers("x")


def test_several_artifacts_of_one_beginning(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.store.lineage._SHORTEST_PREFIX", 1)
    refs = [store.artifacts.save(Params({"n": n})) for n in range(17)]
    store.artifacts.flush()
    beginnings = [ref.digest[0] for ref in refs]
    twice = next(c for c in beginnings if beginnings.count(c) > 1)
    with pytest.raises(NotFoundError, match="several artifacts begin with"):
        store.lineage.resolve(twice)
