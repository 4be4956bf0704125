"""The page: well-formed, self-contained, everything escaped, the same each time, readable without plots."""

from __future__ import annotations

import builtins
import importlib.util
import re
import sys
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import Dataset, FeaturePlan, GateReport, ModelVersion, SplitReport, ValidationReport
from headrace.builtins.evaluate.holdout import HoldoutEvaluation
from headrace.builtins.report.html import HtmlReport
from headrace.builtins.report.markup import DASH, MINUS, Html, h, join, number, text
from headrace.types import ArtifactRef

quick = settings(max_examples=80, deadline=None)  # the machine may be busy

WILD = "<script>alert('1')</script> \"q\" & $x^2$ \\frac \n🦆 @@0000@@ \x00\u202e"
VOID = {"meta", "br", "col"}


class Page(HTMLParser):
    """Checks nesting, collects tags, ids, attributes and visible text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.values, self.text = [], [], [], [], []
        self.feed(html)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.values += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def evaluation(ctx, model, plan, frame):
    config = HoldoutEvaluation.Config(replicates=50, importance_rows=100, importance_repeats=1, slice_rows=10)
    return HoldoutEvaluation(config).run(ctx, model, plan, Dataset.from_frame(frame), Dataset.from_frame(frame))


def frame_of(task, names=("x", "group", "y")):
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    target = {"binary": x > 0.2, "multiclass": np.digitize(x, [-0.5, 0.5]), "regression": x * 3 + rng.normal(size=300)}
    group = rng.choice(["a", WILD, "c"], 300)
    return pl.DataFrame(dict(zip(names, (x, group, target[task]), strict=True)))


GATE = GateReport(
    passed=False,
    checks=[
        {"name": "beats the trivial predictor", "passed": True, "message": "It does."},
        {"name": WILD, "passed": False, "message": f"{WILD} does not."},
    ],
    champion=3,
    comparison={
        "level": 0.95,
        "package": "p" * 64,
        "metrics": {"log_loss": {"challenger": 0.4, "champion": 0.5, "gain": 0.1, "low": 0.05, "high": 0.2}},
    },
)


@pytest.fixture
def make(ctx, linear_model):
    def run(task="binary", *, names=("x", "group", "y"), gate=GATE, **config):
        frame = frame_of(task, names)
        plan = FeaturePlan.fit(frame, target=names[2], task=task)
        weights = {"multiclass": [-2.0, 0.0, 2.0]}.get(task, 2.0)
        model = linear_model(plan, {names[0]: weights}, info={WILD: WILD, "trees": 3}, parity={"rows": 5, "d": 1e-7})
        ctx.inputs = {"model": ArtifactRef("a" * 64, "model", 1)}
        finding = {"expectation": "range", "column": WILD, "policy": "warn", "failed_rows": 2, "message": WILD}
        return HtmlReport(HtmlReport.Config(**config)).run(
            ctx,
            model,
            evaluation(ctx, model, plan, frame),
            gate,
            ValidationReport(rows=300, quarantined_rows=1, expectations=4, findings=[finding]),
            SplitReport(method="random", rows={"train": 200, "test": 100}, findings=[finding]),
            ModelVersion(name="flights", number=4, package="b" * 64),
        )

    return run


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_page_is_well_formed_and_loads_nothing(make, task, roundtrip):
    gate = GATE if task == "binary" else GateReport(passed=True, checks=GATE.checks[:1])
    report = make(task, gate=gate)
    page = Page(report.html)
    assert page.tags.count("svg") == {"binary": 5, "multiclass": 5, "regression": 5}[task]
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    for tag, name, value in page.values:
        assert name not in {"src", "srcset", "action", "onload", "onclick"}, (tag, name)
        if name in {"href", "xlink:href"}:
            assert value.startswith("#")
            assert value[1:] in page.ids
    assert "url(" not in re.sub(r"url\(#\w+\)", "", report.html)
    assert "@import" not in report.html
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", report.html)
    assert len(report.html) < 400_000
    assert roundtrip(report) == report


def test_every_plot_and_table_says_what_it_is(make):
    page = Page(make().html)
    labelled = [value for tag, name, value in page.values if (tag, name) == ("svg", "aria-labelledby")]
    assert len(labelled) == 5
    assert all(part in page.ids for value in labelled for part in value.split())
    assert page.tags.count("h1") == 1
    assert [value for tag, name, value in page.values if (tag, name) == ("html", "lang")] == ["en"]
    scopes = [value for tag, name, value in page.values if (tag, name) == ("th", "scope")]
    assert len(scopes) == page.tags.count("th")


def test_names_from_the_wild_are_shown_and_do_nothing(make):
    report = make(names=(f"x {WILD}", f"g {WILD}", f"y {WILD}"), title=WILD)
    page = Page(report.html)
    assert "script" not in page.tags
    shown = " ".join(page.text)
    assert "<script>alert('1')</script>" in shown
    assert "$x^2$" in shown
    assert "\x00" not in report.html
    assert "\u202e" not in report.html
    assert report.title == WILD


def test_the_same_inputs_give_the_same_page(make):
    assert make().html == make().html


def test_no_stand_in_is_left_in_a_plot(make):
    html = make().html
    for left in re.findall(r"#0[0-9a]0[0-9a]0[0-9a]\b", html):
        pytest.fail(f"the stand-in colour {left} is in the page")
    assert "var(--model)" in html
    assert "DejaVu" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)


def test_matplotlib_is_as_it_was(make):
    import matplotlib as mpl

    before = mpl.rcParams.copy()  # a plain dict() would ask for the backend, and so import pyplot
    loaded = "matplotlib.pyplot" in sys.modules
    make()
    assert mpl.rcParams.copy() == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_without_matplotlib_there_are_tables_and_the_way_to_plots(make, ctx, monkeypatch):
    real_find, real_import = importlib.util.find_spec, builtins.__import__

    def find(name, *rest):
        return None if name.startswith("matplotlib") else real_find(name, *rest)

    def refuse(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *rest, **more)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setattr(builtins, "__import__", refuse)
    html = make().html
    assert "svg" not in Page(html).tags
    assert "pip install &#x27;headrace[report]&#x27;" in html
    assert "Brier score" in html
    assert any("pip install 'headrace[report]'" in line for line in ctx.logs)


def test_the_verdict_is_in_words(make):
    shown = " ".join(Page(make().html).text)
    assert "Did not pass the gate" in shown
    assert "flights, version 4" in shown
    assert "1 of" not in shown.split("Expectations")[0]
    passed = make(gate=GateReport(passed=True, checks=GATE.checks[:1]))
    assert "Passed the gate" in " ".join(Page(passed.html).text)


def test_only_what_is_given_is_shown(ctx, linear_model):
    frame = frame_of("binary")
    plan = FeaturePlan.fit(frame, target="y", task="binary")
    model = linear_model(plan, {"x": 1.0})
    report = HtmlReport(HtmlReport.Config(plots=False)).run(
        ctx, model, evaluation(ctx, model, plan, frame), GateReport(passed=True, checks=[])
    )
    shown = " ".join(Page(report.html).text)
    assert "Expectations" not in shown
    assert report.title == "test"


def test_metrics_without_values_give_their_reason(ctx, linear_model):
    frame = frame_of("binary").filter(pl.col("y"))
    plan = FeaturePlan.fit(frame_of("binary"), target="y", task="binary")
    model = linear_model(plan, {"x": 1.0})
    found = evaluation(ctx, model, plan, frame)
    html = HtmlReport(HtmlReport.Config()).run(ctx, model, found, GateReport(passed=False, checks=[])).html
    assert "all rows are of one class" in html
    assert not re.search(r"\b(nan|inf|none)\b", " ".join(Page(html).text).lower())


@quick
@given(st.text())
def test_any_text_comes_back_out_of_the_markup(value):
    page = Page(h("p", value, title=value))
    assert page.tags == ["p"]
    expected = re.sub("[\r\n]", "↵", value)
    if not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]", expected):
        assert "".join(page.text) == expected
        assert page.values == [("p", "title", expected)]


def test_markup_is_escaped_once():
    assert h("b", h("i", "<")) == "<b><i>&lt;</i></b>"
    assert join(["<", Html("<br>"), None]) == "&lt;<br>"
    assert h("p", class_="a", hidden=True, title=None) == '<p class="a" hidden></p>'
    assert text("\x00") == "\\u0000"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, "0.5000"),
        (0.00099999999, "0.001000"),
        (-0.25, f"{MINUS}0.2500"),
        (1234567, "1,234,567"),
        (12345.678, "12,346"),
        (9.9996, "10.00"),
        (1.2e-7, f"1.2e{MINUS}07"),
        (3.0e9, "3e+09"),
        (0.0, "0.000"),
        (None, DASH),
        (float("nan"), DASH),
        (True, DASH),
    ],
)
def test_numbers_read_well(value, shown):
    assert number(value) == shown
