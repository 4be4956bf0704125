"""`monitor:drift`: silent on rows like those of training, loud on others, ranked, by period, with the right package."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace import Dataset, Evaluation, FeaturePlan, GateReport, Profile, errors
from headrace.builtins.monitor.drift import DriftMonitor
from headrace.builtins.register.package import PackageRegister
from headrace.compute.drift.reference import LEAST, Reference
from headrace.types import ArtifactRef

MEASURED = {"value": 0.4, "low": 0.3, "high": 0.5, "better": "lower"}
EVALUATION = Evaluation(
    task="binary",
    primary="log_loss",
    rows=80,
    level=0.95,
    metrics={"log_loss": MEASURED},
    baseline={"log_loss": MEASURED},
    importance={"x": 0.2, "n": 0.1, "kind": 0.0},
)
PASSED = GateReport(passed=True, checks=[{"name": "champion", "passed": True, "message": "There is none."}])


def rows(n, seed, *, shift=0.0, kinds=("a", "b"), start=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n) + shift
    frame = pl.DataFrame(
        {"x": x, "n": rng.integers(0, 9, n), "kind": rng.choice(kinds, n), "late": rng.normal(size=n) + x > 0.3}
    )
    first = start or datetime(2024, 1, 1, tzinfo=UTC)
    return frame.with_columns(pl.Series("at", [first + timedelta(hours=i) for i in range(n)]))


@pytest.fixture
def registered(ctx, linear_model):
    """A champion whose score is known by heart: 2 x."""
    train, test = rows(6000, 1), rows(3000, 2)
    plan = FeaturePlan.fit(train.drop("at"), target="late", task="binary")

    def register(weight=2.0, **config):
        model = linear_model(plan, {"x": weight})
        ctx.inputs = {"model": ArtifactRef(hashlib.sha256(model.onnx).hexdigest(), "model", 1)}
        champion = ctx.registry.aliased("test", "champion")
        gate = GateReport(passed=True, checks=PASSED.checks, champion=champion)
        return PackageRegister(PackageRegister.Config(**config)).run(
            ctx, model, plan, Dataset.from_frame(train), Dataset.from_frame(test), EVALUATION, gate
        )

    register()
    return register


def monitor(ctx, frame, **config):
    return DriftMonitor(DriftMonitor.Config(**config)).run(ctx, Dataset.from_frame(frame))


def test_the_package_has_the_reference_and_the_same_bytes_again(ctx, registered):
    package = ctx.registry.champion("test")
    profile, scores = Profile.from_bytes(package.read("profile.bin")), Profile.from_bytes(package.read("scores.bin"))
    assert (profile.rows, scores.rows) == (6000, 3000)
    assert set(profile.columns) == {"x", "n", "kind"}  # what the plan reads; neither the answer nor the rest
    assert set(scores.columns) == {"prediction", "probability_true"}
    assert len(package.read("profile.bin")) < 64_000
    assert registered() == package.version


def test_it_can_be_switched_off_and_then_says_so(ctx, registered):
    registered(3.0, profile=False)
    assert "profile.bin" not in ctx.registry.champion("test").files
    with pytest.raises(errors.RegistryError, match="no reference profile") as raised:
        monitor(ctx, rows(100, 3))
    assert "profile = true" in raised.value.hint
    assert raised.value.place == "test@2"


def test_rows_like_those_of_training_are_no_drift(ctx, registered):
    found = monitor(ctx, rows(6000, 5).drop("late"))
    assert found.drift.drifted == ()
    assert {c.name for c in found.drift} == {"x", "n", "kind", "prediction", "probability_true"}
    assert found.drift.undecided == ()
    assert found.drift.about == {
        "model": "test",
        "version": 1,
        "package": ctx.registry.champion("test").version.package,
    }
    assert found.windows.periods == ()


def test_drift_is_ranked_by_size_times_importance(ctx, registered):
    live = rows(4000, 6, shift=0.7, kinds=("b", "c"))
    found = monitor(ctx, live).drift
    assert set(found.drifted) == {"x", "kind", "prediction", "probability_true"}
    # `kind` changed the most by far, but the model does not use it.
    assert found.drifted[-1] == "kind"
    assert found["kind"].effect.size > found["x"].effect.size
    assert (found["x"].importance, found["n"].importance, found["kind"].importance) == (1.0, 0.5, LEAST)
    assert [c.rank for c in found] == [1, 2, 3, 4, 5]
    assert any("4 of 5 columns drifted" in line for line in ctx.logs)
    assert ctx.metrics["columns_drifted"] == [(None, 4.0)]


def test_few_rows_are_never_an_alarm(ctx, registered):
    found = monitor(ctx, rows(3, 6, shift=0.2)).drift
    assert found.drifted == ()
    assert found.undecided != ()
    nothing = monitor(ctx, rows(10, 1).head(0)).drift
    assert nothing.drifted == ()


def test_chosen_columns_and_no_scores(ctx, registered):
    found = monitor(ctx, rows(4000, 6, shift=1.0), columns=["x", "kind"], scores=False).drift
    assert {c.name for c in found} == {"x", "kind"}
    scores = monitor(ctx, rows(4000, 6, shift=1.0), columns=["prediction"]).drift
    assert [c.name for c in scores] == ["prediction"]
    with pytest.raises(errors.DataError, match="no such column"):
        monitor(ctx, rows(10, 6), columns=["y"])


def test_periods_are_compared_alone_and_add_up(ctx, registered, roundtrip):
    first = rows(24 * 31, 7, start=datetime(2024, 1, 1, tzinfo=UTC))
    second = rows(24 * 29, 8, shift=1.5, start=datetime(2024, 2, 1, tzinfo=UTC))
    timeless = rows(50, 9).with_columns(at=pl.lit(None, pl.Datetime("us", "UTC")))
    live = pl.concat([second, first, timeless])
    found = monitor(ctx, live, time_column="at", period="month")
    assert [(p.start, p.rows) for p in found.windows.periods] == [("2024-01", 24 * 31), ("2024-02", 24 * 29)]
    assert [("x" in p.report.drifted) for p in found.windows.periods] == [False, True]
    whole = monitor(ctx, live)
    assert found.drift == whole.drift or repr(found.drift) == repr(whole.drift)
    again = roundtrip(found.windows)
    assert again.counts == found.windows.counts
    assert [p.report.drifted for p in again.periods] == [p.report.drifted for p in found.windows.periods]
    assert roundtrip(monitor(ctx, live).windows).periods == ()
    assert repr(roundtrip(found.drift).columns) == repr(found.drift.columns)


def test_weeks_begin_on_monday_and_days_are_days(ctx, registered):
    live = rows(48, 7, start=datetime(2024, 3, 10, tzinfo=UTC))  # a Sunday
    starts = [p.start for p in monitor(ctx, live, time_column="at", period="week").windows.periods]
    assert starts == ["2024-03-04", "2024-03-11"]
    days = monitor(ctx, live, time_column="at", period="day").windows.periods
    assert [(p.start, p.rows) for p in days] == [("2024-03-10", 24), ("2024-03-11", 24)]


@pytest.mark.parametrize(
    ("config", "error", "says"),
    [
        ({"period": "day"}, errors.ConfigError, "no column to cut"),
        ({"period": "day", "time_column": "when"}, errors.DataError, "no such column"),
        ({"period": "day", "time_column": "x"}, errors.DataError, "expected dates"),
        ({"alias": "shadow"}, errors.NotFoundError, "no alias 'shadow'"),
        ({"model": "other"}, errors.NotFoundError, "no alias 'champion'"),
    ],
)
def test_what_cannot_be_is_said(ctx, registered, config, error, says):
    with pytest.raises(error, match=says):
        monitor(ctx, rows(50, 3), **config)


def test_a_missing_column_and_another_type_are_named(ctx, registered):
    with pytest.raises(errors.DataError, match="x"):
        monitor(ctx, rows(50, 3).drop("x"))
    with pytest.raises(errors.DataError) as raised:
        monitor(ctx, rows(50, 3).with_columns(pl.col("x").cast(pl.String)))
    assert "x" in f"{raised.value.place} {raised.value.message}"


def test_drift_can_fail_the_stage(ctx, registered):
    with pytest.raises(errors.StageError, match=r"prediction.* drifted") as raised:
        monitor(ctx, rows(4000, 6, shift=0.7), fail_on_drift=True)
    assert "headrace drift test@champion" in raised.value.hint
    assert monitor(ctx, rows(6000, 5), fail_on_drift=True).drift.drifted == ()


def test_the_cache_key_names_the_package(ctx, registered, tmp_path):
    stage = DriftMonitor(DriftMonitor.Config(model="test"))
    before = stage.external(tmp_path, ctx.registry, {})
    assert before == {"package": ctx.registry.champion("test").version.package, "version": 1}
    registered(3.0)
    assert stage.external(tmp_path, ctx.registry, {}) != before
    assert DriftMonitor(DriftMonitor.Config(model="none")).external(tmp_path, ctx.registry, {}) is None
    with pytest.raises(errors.ConfigError):
        DriftMonitor(DriftMonitor.Config()).external(tmp_path, ctx.registry, {})


def test_scores_of_a_sure_model_do_not_drift_on_rows_like_those_of_training(ctx, registered):
    """The reference of the scores is of rows that the model had not seen: see `Reference.fit`."""
    reference = Reference.of_package(ctx.registry.champion("test"))
    assert reference.scores is not None
    assert reference.scores.rows == 3000


def test_names_of_scores_that_inputs_have_as_well(ctx, linear_model):
    frame = rows(500, 1).drop("at").rename({"n": "prediction"})
    plan = FeaturePlan.fit(frame, target="late", task="binary")
    model = linear_model(plan, {"x": 1.0})
    ctx.inputs = {"model": ArtifactRef(hashlib.sha256(model.onnx).hexdigest(), "model", 1)}
    data = Dataset.from_frame(frame)
    PackageRegister(PackageRegister.Config()).run(ctx, model, plan, data, data, EVALUATION, PASSED)
    names = [column.name for column in monitor(ctx, frame).drift]
    assert "prediction" in names
    assert "prediction (model)" in names
    assert len(set(names)) == len(names)


def test_files_are_read_in_batches(ctx, registered, tmp_path, monkeypatch):
    live = rows(3000, 6, shift=0.2)
    live.head(1800).write_parquet(tmp_path / "a.parquet")
    live.tail(1200).write_parquet(tmp_path / "b.parquet")
    expected = monitor(ctx, live).drift
    data = Dataset.by_reference([tmp_path / "a.parquet", tmp_path / "b.parquet"], format="parquet")
    monkeypatch.setattr(Dataset, "frame", lambda self: pytest.fail("the rows were read whole"))
    found = DriftMonitor(DriftMonitor.Config()).run(ctx, data).drift
    assert found.to_dict() == expected.to_dict()


def test_files_are_cut_by_period_in_batches(ctx, registered, tmp_path, monkeypatch):
    live = rows(24 * 40, 6, shift=0.2).sample(fraction=1.0, shuffle=True, seed=1)
    live.head(500).write_parquet(tmp_path / "a.parquet")
    live.tail(460).write_parquet(tmp_path / "b.parquet")
    expected = monitor(ctx, live, time_column="at", period="day")
    data = Dataset.by_reference([tmp_path / "a.parquet", tmp_path / "b.parquet"], format="parquet")
    batches = Dataset.batches
    monkeypatch.setattr(Dataset, "frame", lambda self: pytest.fail("the rows were read whole"))
    monkeypatch.setattr(Dataset, "batches", lambda self: batches(self, 100))
    found = DriftMonitor(DriftMonitor.Config(time_column="at", period="day")).run(ctx, data)
    assert len(found.windows.periods) == 40
    assert found.windows.counts == expected.windows.counts
    assert repr(found) == repr(expected)


def test_segments_of_the_package_are_compared_by_themselves(ctx, registered, roundtrip):
    registered(3.0, segments="kind")
    profile = Profile.from_bytes(ctx.registry.champion("test").read("profile.bin"))
    assert (profile.segmented_by, set(profile.segments)) == ("kind", {"a", "b"})
    live = rows(6000, 5)
    some = live.with_columns(x=pl.col("x") + pl.when(pl.col("kind") == "b").then(0.5).otherwise(0.0))
    found = monitor(ctx, some).drift
    assert [(one.by, one.segment, one.report.drifted) for one in found.segments] in (
        [("kind", "a", ()), ("kind", "b", ("x",))],
        [("kind", "b", ("x",)), ("kind", "a", ())],
    )
    assert found.drifted_segments == ("b",)
    inside = {one.segment: one for one in found.segments}
    assert inside["b"].rows[1] == some.filter(pl.col("kind") == "b").height
    assert {column.name for column in inside["b"].report} == {"x", "n"}
    assert inside["b"].report["x"].importance == 1.0
    assert inside["b"].report.about == found.about
    assert any("kind b: x drifted" in line for line in ctx.logs)
    assert ctx.metrics["segments_drifted"] == [(None, 1.0)]
    again = roundtrip(found)
    assert repr([(one.rows, one.report.columns) for one in again.segments]) == repr(
        [(one.rows, one.report.columns) for one in found.segments]
    )
    assert [one["drifted"] for one in again.to_dict()["segments"]] == [
        list(one.report.drifted) for one in found.segments
    ]
    by_day = monitor(ctx, some, time_column="at", period="month").drift
    assert repr(by_day) == repr(found)
    assert monitor(ctx, some, segments=False).drift.segments == ()
    assert monitor(ctx, live).drift.drifted_segments == ()
    assert monitor(ctx, some, columns=["prediction"]).drift.segments == ()
    assert {c.name for one in monitor(ctx, some, columns=["n", "kind"]).drift.segments for c in one.report} == {"n"}


def test_each_period_is_compared_within_segments_too(ctx, registered, roundtrip):
    """Rows of one kind change in February: its period says so, January's does not; one share of false alarms each."""
    registered(3.0, segments="kind")
    first = rows(24 * 31, 7, start=datetime(2024, 1, 1, tzinfo=UTC))
    second = rows(24 * 29, 8, start=datetime(2024, 2, 1, tzinfo=UTC))
    second = second.with_columns(x=pl.col("x") + pl.when(pl.col("kind") == "b").then(2.0).otherwise(0.0))
    live = pl.concat([second, first])
    found = monitor(ctx, live, time_column="at", period="month")
    january, february = found.windows.periods
    assert [one.segment for one in january.report.segments] == [one.segment for one in february.report.segments]
    assert january.report.drifted_segments == ()
    assert february.report.drifted_segments == ("b",)
    inside = {one.segment: one for one in february.report.segments}
    assert inside["b"].rows[1] == second.filter(pl.col("kind") == "b").height
    assert inside["b"].report.drifted == ("x",)
    alone = monitor(ctx, second).drift.segments
    assert [[(c.name, c.verdict, c.pvalue_adjusted) for c in one.report] for one in february.report.segments] == [
        [(c.name, c.verdict, c.pvalue_adjusted) for c in one.report] for one in alone
    ]
    assert any("2024-02, kind b: x drifted" in line for line in ctx.logs)
    assert (1, 1.0) in ctx.metrics["segments_drifted_in_period"]
    again = roundtrip(found.windows)
    assert [p.report.drifted_segments for p in again.periods] == [(), ("b",)]
    off = monitor(ctx, live, time_column="at", period="month", segments=False)
    assert [p.report.segments for p in off.windows.periods] == [(), ()]


def test_drift_within_a_segment_alone_can_fail_the_stage(ctx, registered):
    registered(3.0, segments="kind")
    live = rows(6000, 5)
    some = live.with_columns(n=pl.when((pl.col("kind") == "b") & (pl.col("n") < 2)).then(8).otherwise(pl.col("n")))
    found = monitor(ctx, some, scores=False, delta=0.15).drift
    assert (found.drifted, found.drifted_segments) == ((), ("b",))
    with pytest.raises(errors.StageError, match="n where kind is b drifted"):
        monitor(ctx, some, scores=False, delta=0.15, fail_on_drift=True)


@pytest.mark.parametrize(
    ("column", "says"), [("late", "does not read"), ("x", "segments are the values of a category")]
)
def test_a_column_that_makes_no_segments_is_named(registered, column, says):
    with pytest.raises(errors.DataError, match=says) as raised:
        registered(3.0, segments=column)
    assert column in raised.value.place


def test_whole_numbers_make_segments(ctx, registered):
    registered(3.0, segments="n")
    found = monitor(ctx, rows(6000, 5)).drift
    assert {one.segment for one in found.segments} == {str(n) for n in range(9)}
    assert found["n"].kind == "nominal"
    assert (found.drifted, found.drifted_segments) == ((), ())


@pytest.mark.parametrize(
    ("name", "change", "drifted"),
    [
        ("no rows", lambda f: f.head(0), set()),
        ("all null", lambda f: f.with_columns(x=pl.lit(None, pl.Float64)), {"x"}),
        ("not a number", lambda f: f.with_columns(x=pl.lit(float("nan"))), {"x"}),
        ("infinite", lambda f: f.with_columns(x=pl.lit(float("inf"))), {"x"}),
        ("denormal", lambda f: f.with_columns(x=pl.lit(5e-324)), {"x"}),
        ("minus zero", lambda f: f.with_columns(x=pl.lit(-0.0)), {"x"}),
        ("one category", lambda f: f.with_columns(kind=pl.lit("a")), {"kind"}),
        ("each row a category", lambda f: f.with_columns(kind=pl.int_range(pl.len()).cast(pl.String)), {"kind"}),
        ("a new column", lambda f: f.with_columns(fresh=pl.lit(1)), set()),
    ],
)
def test_odd_rows_get_a_verdict(ctx, registered, name, change, drifted):
    found = monitor(ctx, change(rows(3000, 5).drop("late"))).drift
    assert set(found.drifted) - {"prediction", "probability_true"} == drifted, name
    assert {column.name for column in found} == {"x", "n", "kind", "prediction", "probability_true"}
