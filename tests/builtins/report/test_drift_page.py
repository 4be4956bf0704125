"""The drift page: everything escaped, no mass lost in the plots, the same each time, readable without plots."""

from __future__ import annotations

import itertools
import math
import random
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import Profile, drift
from headrace.builtins.report.distributions import Bin, bars, value_text
from headrace.builtins.report.drift_page import drift_page

WILD = "<script>alert('1')</script> \"q\" & $x^2$ \n🦆 @@0000@@"


class Nested(HTMLParser):
    """Fails where tags do not close as they opened."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in {"meta", "br", "col"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def table(seed, rows=1200, shift=0.0):
    chance = random.Random(seed)
    return pl.DataFrame(
        {
            WILD: [chance.gauss(shift, 1) if chance.random() > 0.1 * shift else None for _ in range(rows)],
            "colour": [chance.choice(["<b>red</b>", "blue", "@@0001@@"][: 2 + bool(shift)]) for _ in range(rows)],
            "heavy": [math.exp(chance.gauss(0, 4)) for _ in range(rows)],
            "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=30 * i) for i in range(rows)],
            "day": [f"2024-01-{1 + i * 28 // rows:02d}" for i in range(rows)],
            "nothing": pl.Series([None] * rows, dtype=pl.Float64),
        }
    ).with_columns(pl.col("day").str.to_date())


def page(*, plots=True, shift=1.0):
    reference = drift.Reference(Profile.fit(table(1)))
    windows, over = drift.over_time(reference, table(2, shift=shift), "day", "week")
    return drift_page(
        reference.compare(windows),
        reference=WILD,
        live="live.parquet",
        rows=(1200, 1200),
        counts=reference.inputs.counts(windows.inputs),
        kinds=reference.inputs.columns,
        periods=[(one.start, one.rows, one.report) for one in over.periods],
        plots=plots,
    )


def test_it_is_whole_and_loads_nothing_and_is_the_same_again():
    pytest.importorskip("matplotlib")
    html = page()
    found = Nested(html)
    assert "script" not in found.tags
    assert "<script" not in html
    assert not re.search(r'(?:src|href)="(?!#)', html)
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    assert "@@0000@@" in html  # a name, and no stand-in that was forgotten
    assert html.count("<svg") >= 5
    assert not re.search(r"@@000[2-9]@@", html)
    assert page() == html


def test_without_plots_it_says_so_and_has_the_tables():
    html = page(plots=False)
    Nested(html)
    assert "<svg" not in html
    assert "pip install" in html
    assert html.count("<table") > 5
    assert "2024-01-08" in html


def test_no_drift_is_said():
    assert "No drift" in page(plots=False, shift=0.0)


counted = st.integers(0, 10_000).map(float)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=40, unique=True).map(sorted),
    st.data(),
)
def test_no_mass_is_lost(edges, data):
    bins = [Bin("below", None, edges[0], None, 0.0, data.draw(counted))]
    for low, high in itertools.pairwise(edges):
        if data.draw(st.booleans()):
            bins.append(Bin("atom", low, low, None, data.draw(counted), data.draw(counted)))
        bins.append(Bin("interval", low, high, None, data.draw(counted), data.draw(counted)))
    bins += [Bin("above", edges[-1], None, None, 0.0, data.draw(counted)), Bin("null", None, None, None, 3.0, 4.0)]
    found = bars(bins, "number")
    assert found is not None
    assert math.isclose(sum(found.reference) + sum(p for _, p, _ in found.apart), 1.0, abs_tol=1e-6)
    assert math.isclose(sum(found.live) + sum(q for _, _, q in found.apart), 1.0, abs_tol=1e-6)
    if found.edges is not None:
        assert len(found.edges) == len(found.reference) + 1 <= 100
        assert found.edges == sorted(found.edges)


@given(st.lists(st.tuples(st.text(max_size=5), counted, counted), max_size=30), counted, counted)
def test_no_category_is_lost(categories, unseen, null):
    bins = [Bin("category", None, None, name, p, q) for name, p, q in categories]
    bins += [Bin("other", None, None, None, 1.0, 1.0), Bin("unseen", None, None, None, 0.0, unseen)]
    bins.append(Bin("null", None, None, None, null, 0.0))
    found = bars(bins, "category")
    assert found is not None
    assert math.isclose(sum(found.reference) + sum(p for _, p, _ in found.apart), 1.0, abs_tol=1e-9)
    assert math.isclose(sum(found.live) + sum(q for _, _, q in found.apart), 1.0, abs_tol=1e-9)


def test_values_are_written_as_their_kind():
    assert value_text(19_723.0, "date") == "2024-01-01"
    assert value_text(1_704_067_200.0, "datetime") == "2024-01-01 00:00"
    assert value_text(45_000.0, "time") == "12:30"
    assert value_text(1e300, "date") != ""
    assert value_text(None, "number") == ""
    wide = bars([Bin("interval", -math.inf, math.inf, None, 1.0, 2.0)], "number")
    assert wide is not None
    assert wide.apart == [("any value", 1.0, 1.0)]
    assert bars([Bin("interval", 0.0, 1.0, None, 0.0, 0.0)], "number") is None
