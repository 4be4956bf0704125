"""Register and gate on the real store: versions, aliases, history, and a package that lost a file."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from headrace import Dataset, FeaturePlan, errors
from headrace.builtins.evaluate.holdout import HoldoutEvaluation
from headrace.builtins.gate.champion import ChampionGate
from headrace.builtins.register.package import PackageRegister
from headrace.registry import Registry
from headrace.store import Store


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / ".headrace") as opened:
        yield opened


@pytest.fixture
def promote(store, ctx, linear_model):
    """Evaluate, gate and register one model, each input kept in the store."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 600))
    frame = pl.DataFrame({"x": x, "z": z, "late": rng.random(600) < 1 / (1 + np.exp(-(2 * x + z)))})
    plan = FeaturePlan.fit(frame, target="late", task="binary")
    data = Dataset.from_frame(frame)
    ctx.registry, ctx.project = Registry(store, who="a test"), "flights"

    def run(weights):
        model = linear_model(plan, weights)
        ctx.inputs = {"model": store.artifacts.save(model), "test": store.artifacts.save(data)}
        config = HoldoutEvaluation.Config(replicates=50, importance_rows=0, slice_rows=100)
        found = HoldoutEvaluation(config).run(ctx, model, plan, data, data)
        gate = ChampionGate(ChampionGate.Config(replicates=200, latency_rows=2)).run(ctx, model, plan, data, found)
        ctx.inputs = {**ctx.inputs, "gate": store.artifacts.save(gate)}
        return PackageRegister(PackageRegister.Config()).run(ctx, model, plan, data, data, found, gate)

    return run


def test_better_models_become_champion_and_worse_ones_do_not(promote, ctx):
    first = promote({"x": 0.7})
    better = promote({"x": 2.0, "z": 1.0})
    worse = promote({"x": 0.7, "z": 0.1})
    assert [v.number for v in (first, better, worse)] == [1, 2, 3]
    registry = ctx.registry
    assert registry.resolve("flights@champion").version == better
    assert registry.resolve("flights@challenger").version == worse
    moves = registry.history("flights", "champion")
    assert [(move.version, move.previous) for move in moves] == [(2, 1), (1, None)]
    assert "surely better" in moves[0].why
    assert len(moves[0].gate) == 64
    assert promote({"x": 2.0, "z": 1.0}) == better
    assert len(registry.history("flights")) == 3


def test_a_package_that_lost_a_file_is_made_again(promote, ctx, store):
    version = promote({"x": 2.0, "z": 1.0})
    stage = PackageRegister(PackageRegister.Config(model="flights"))
    whole = stage.external(ctx.project_dir, ctx.registry, ctx.inputs)
    card = ctx.registry.resolve("flights@champion").manifest["files"]["card.md"]["sha256"]
    store.objects.open_path(card).unlink()
    with pytest.raises(errors.RegistryError):
        ctx.registry.resolve("flights@champion")
    assert stage.external(ctx.project_dir, ctx.registry, ctx.inputs) != whole
    assert promote({"x": 2.0, "z": 1.0}) == version
    assert stage.external(ctx.project_dir, ctx.registry, ctx.inputs) == whole
    assert ctx.registry.resolve("flights@champion").read("card.md").startswith(b"# flights")
