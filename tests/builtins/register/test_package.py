"""The package: complete, the same bytes each time, registered once, and the right alias moved."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import polars as pl
import pytest

from headrace import Dataset, Evaluation, FeaturePlan, GateReport, Predictor, errors
from headrace.builtins.register.card import card
from headrace.builtins.register.files import package_files, signature, telling_rows
from headrace.builtins.register.package import PackageRegister
from headrace.types import ArtifactRef

MEASURED = {"value": 0.4, "low": 0.3, "high": 0.5, "better": "lower"}


def rows(n=80):
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    frame = pl.DataFrame({"x": x, "kind": rng.choice(["a", "b"], n), "n": rng.integers(0, 9, n), "late": x > 0.3})
    return frame.with_columns(pl.when(pl.int_range(n) == 41).then(None).otherwise("kind").alias("kind"))


def judged(**changes):
    about = {"task": "binary", "primary": "log_loss", "rows": 80, "level": 0.95, "metrics": {"log_loss": MEASURED}}
    about |= {
        "baseline": {"log_loss": MEASURED | {"gain": 0.1}},
        "importance": {"x": 0.2},
        "about": {"notes": ["a note"]},
    }
    return Evaluation(**(about | changes))


PASSED = GateReport(passed=True, checks=[{"name": "champion", "passed": True, "message": "There is none."}])
FAILED = GateReport(passed=False, checks=[{"name": "champion", "passed": False, "message": "It is no better."}])


@pytest.fixture
def plan():
    return FeaturePlan.fit(rows(), target="late", task="binary")


@pytest.fixture
def register(ctx, plan):
    def run(model, gate=PASSED, *, evaluation=None, **config):
        digest = hashlib.sha256(model.onnx).hexdigest()
        ctx.inputs = {name: ArtifactRef(name[0] * 64, name, 1) for name in ("train", "test", "gate")}
        ctx.inputs = {**ctx.inputs, "model": ArtifactRef(digest, "model", 1)}
        data = Dataset.from_frame(rows())
        return PackageRegister(PackageRegister.Config(**config)).run(
            ctx, model, plan, data, data, evaluation or judged(), gate
        )

    return run


def test_a_package_can_be_loaded_and_predicts_the_same(ctx, plan, linear_model, register):
    model = linear_model(plan, {"x": 3.0})
    version = register(model)
    package = ctx.registry.champion("test")
    assert package.version == version
    loaded = Predictor.from_package(package)  # replays the golden rows
    assert loaded.predict(rows()).equals(Predictor(plan, model).predict(rows()))
    documents = {"plan.json", "signature.json", "golden.json", "metrics.json", "card.md"}
    assert set(package.files) == {"model.onnx", "profile.bin", "scores.bin"} | documents
    assert package.files["model.onnx"] == model.onnx
    assert json.loads(package.files["metrics.json"])["metrics"]["log_loss"] == MEASURED
    assert FeaturePlan.from_document(json.loads(package.files["plan.json"])) == plan


def test_the_native_model_is_kept_where_there_is_one(plan, linear_model):
    model = linear_model(plan, {"x": 1.0}, native=b"tree\nversion=v4\n")
    files = package_files("test", Predictor(plan, model), judged(), rows=rows(), golden_rows=2, trained_on=80)
    assert files["model.lightgbm"] == model.native


def test_the_same_inputs_give_the_same_bytes_and_the_same_version(ctx, plan, linear_model, register):
    first = register(linear_model(plan, {"x": 3.0}))
    assert register(linear_model(plan, {"x": 3.0})) == first
    assert register(linear_model(plan, {"x": 3.5}), FAILED).number == 2
    files = [
        package_files(
            "test", Predictor(plan, linear_model(plan, {"x": 3.0})), judged(), rows=rows(), golden_rows=4, trained_on=80
        )
        for _ in range(2)
    ]
    assert files[0] == files[1]


def test_golden_rows_hold_nulls_and_extremes(plan):
    frame = rows()
    found = telling_rows(frame, list(plan.inputs), 4)
    assert found["kind"].null_count() == 1
    assert (found["x"].min(), found["x"].max()) == (frame["x"].min(), frame["x"].max())
    assert found.columns == list(plan.inputs)
    assert telling_rows(frame.head(1), list(plan.inputs), 16).height == 1


def test_the_signature_says_what_goes_in_and_out(plan):
    found = signature(plan)
    assert {entry["name"]: entry["type"] for entry in found["inputs"]} == plan.inputs
    assert [entry["name"] for entry in found["inputs"] if entry["nullable"]] == ["kind"]
    assert [entry["name"] for entry in found["outputs"]] == ["prediction", "probability_false", "probability_true"]
    assert found["outputs"][0]["type"] == "boolean"
    number = FeaturePlan.fit(rows(), target="x", task="regression")
    assert signature(number)["outputs"] == [{"name": "prediction", "type": "float64", "nullable": False}]


def test_champion_moves_only_when_the_gate_passed(ctx, plan, linear_model, register):
    first = register(linear_model(plan, {"x": 1.0}))
    assert ctx.registry.aliases == {("test", "champion"): 1}
    second = register(linear_model(plan, {"x": 2.0}), FAILED)
    assert ctx.registry.aliases == {("test", "champion"): 1, ("test", "challenger"): 2}
    third = register(linear_model(plan, {"x": 3.0}), FAILED)
    assert ctx.registry.aliases == {("test", "champion"): 1, ("test", "challenger"): 3}
    beats = GateReport(passed=True, checks=PASSED.checks, champion=first.number)
    fourth = register(linear_model(plan, {"x": 4.0}), beats)
    assert ctx.registry.aliases[("test", "champion")] == 4
    assert [v.number for v in (first, second, third, fourth)] == [1, 2, 3, 4]
    last = ctx.registry.moves[-1]
    assert (last["previous"], last["gate"], last["why"]) == (1, "g" * 64, "The gate passed. There is none.")
    assert ctx.registry.moves[1]["why"] == "The gate failed. It is no better."


def test_a_person_may_keep_promotion_to_themselves(ctx, plan, linear_model, register):
    register(linear_model(plan, {"x": 1.0}), promote=False)
    assert ctx.registry.aliases == {("test", "challenger"): 1}
    register(linear_model(plan, {"x": 2.0}), FAILED, challenger=None)
    assert ctx.registry.aliases == {("test", "challenger"): 1}


def test_a_repeated_run_moves_nothing(ctx, plan, linear_model, register):
    model = linear_model(plan, {"x": 1.0})
    register(model)
    register(model)
    register(model, FAILED)
    assert len(ctx.registry.moves) == 1
    challenger = linear_model(plan, {"x": 2.0})
    register(challenger, FAILED)
    register(challenger, FAILED)
    assert len(ctx.registry.moves) == 2


def test_the_same_model_measured_anew_is_a_new_version_and_stays_champion(ctx, plan, linear_model, register):
    register(linear_model(plan, {"x": 1.0}))
    model = linear_model(plan, {"x": 2.0})
    beats = GateReport(passed=True, checks=PASSED.checks, champion=1)
    register(model, beats)
    again = register(model, beats, evaluation=judged(rows=81))  # the gate looks past the model itself, to version 1
    assert again.number == 3
    assert ctx.registry.aliases[("test", "champion")] == 3


def test_a_champion_that_changed_meanwhile_is_not_overrun(ctx, plan, linear_model, register):
    register(linear_model(plan, {"x": 1.0}))
    with pytest.raises(errors.AliasConflictError):
        register(linear_model(plan, {"x": 2.0}), GateReport(passed=True, checks=PASSED.checks, champion=None))
    assert ctx.registry.aliases[("test", "champion")] == 1


def test_a_damaged_package_of_the_champion_is_made_again(ctx, plan, linear_model, register, tmp_path):
    stage = PackageRegister(PackageRegister.Config(model="test"))
    model = linear_model(plan, {"x": 1.0})
    inputs = {"model": ArtifactRef(hashlib.sha256(model.onnx).hexdigest(), "model", 1)}
    before = stage.external(tmp_path, ctx.registry, inputs)
    register(model)
    assert stage.external(tmp_path, ctx.registry, inputs) == before

    class Damaged:
        def champion(self, model, *, besides=None):
            raise errors.CorruptObjectError("card.md does not match its name")

    assert stage.external(tmp_path, Damaged(), inputs) != before
    with pytest.raises(errors.ConfigError, match="no name"):
        PackageRegister(PackageRegister.Config()).external(tmp_path, ctx.registry, inputs)


def test_the_card_shows_names_from_the_wild_as_they_are(linear_model):
    wild = "a|b `c`\n# <script>alert(1)</script> *x* [l](u) 🦆"
    frame = rows().rename({"x": wild, "late": "la`te\n<b>"})
    plan = FeaturePlan.fit(frame, target="la`te\n<b>", task="binary")
    model = linear_model(plan, {wild: 1.0}, info={"note|": "x\ny", "trees": 5}, parity={"rows": 3})
    part = {"column": wild, "value": "v|w", "rows": 5, "metrics": {"log_loss": {**MEASURED, "baseline": None}}}
    text = card(wild, plan, model, judged(importance={wild: 0.1}, slices=[part]), trained_on=80)
    assert "<script>" not in text
    assert text.startswith("# a\\|b \\`c\\` \\# &lt;script&gt;")
    cells = [line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")]
    assert set(cells) <= {3, 5, 6}
    assert "`la'te <b>`" in text
    assert "trained on 80 rows" in text
    assert "a note" in text


def test_a_card_without_values_says_none(plan, linear_model):
    empty = {"value": None, "low": None, "high": None, "reason": "all rows are of one class", "better": "lower"}
    text = card("m", plan, linear_model(plan, {}), judged(metrics={"log_loss": empty}, baseline={}), trained_on=1)
    assert "| Log loss | none |  | none |" in text
