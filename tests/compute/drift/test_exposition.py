"""Prometheus text: parsed back by a small reader of the format, and by promtool."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.compute.drift import CountedColumn, SegmentDrift, compare_counts
from headrace.compute.drift.exposition import prometheus_text
from headrace.errors import DataError

WILD = 'a "quoted" \\ back\nslash {} 🚰 #\x00'
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
BACK = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parsed(text):
    """name -> type, and (name, labels) -> value, by the grammar of the text format 0.0.4."""
    types, helped, samples = {}, set(), {}
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped
            assert name not in types
            types[name] = kind
        elif line.startswith("# HELP "):
            helped.add(line.split(" ")[2])
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            labels = {k: re.sub(r"\\.", lambda m: BACK[m[0]], v) for k, v in LABEL.findall(match[2])}
            key = (match[1], tuple(sorted(labels.items())))
            assert key not in samples, key
            assert match[1] == list(types)[-1]  # samples of a family stand together
            samples[key] = float(match[3])
    return types, samples


def report(name="x", **about):
    columns = [
        CountedColumn(name, [5000, 5000], [1000, 9000], categories=["red", "blue"], null=(0, 100)),
        CountedColumn("empty", [0, 0], [0, 0], edges=[0.0]),
    ]
    return replace(compare_counts(columns), about=about)


def test_what_it_says_is_what_was_found():
    found = report(model="flights", version=3, package="f" * 64)
    types, samples = parsed(prometheus_text(found, {"env": "live"}))
    assert set(types.values()) == {"gauge"}
    common = {"model": "flights", "version": "3", "env": "live"}

    def value(metric, **labels):
        return samples[f"headrace_drift_{metric}", tuple(sorted((common | labels).items()))]

    assert (value("alarm", column="x"), value("alarm", column="empty")) == (1, 0)
    assert (value("undecided", column="x"), value("undecided", column="empty")) == (0, 1)
    assert value("columns", verdict="drift") == 1
    assert value("effect", column="x", part="values") == found["x"].parts["values"].size
    assert value("effect_low", column="x", part="values") == found["x"].parts["values"].low
    assert (value("rows", column="x", side="live"), value("rows", column="x", side="reference")) == (10_100, 10_000)
    assert math.isclose(value("missing_ratio", column="x", side="live"), 100 / 10_100)
    assert math.isnan(value("missing_ratio", column="empty", side="live"))


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1).filter(lambda name: name != "empty"))
def test_any_name_comes_through(name):
    _, samples = parsed(prometheus_text(report(name)))
    escaped = name.encode("utf-8", "backslashreplace").decode()
    assert samples["headrace_drift_alarm", (("column", escaped),)] == 1


@pytest.mark.parametrize("label", ["column", "le", "a-b", "1a", "", "__name__"])
def test_labels_that_cannot_be_are_refused(label):
    with pytest.raises(DataError, match="no name for a label"):
        prometheus_text(report(), {label: "x"})


@pytest.mark.system
def test_promtool_has_nothing_to_say():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool: it is in Debian's package `prometheus` (.ci/run takes it from there)")
    reports = (report(WILD, model="m", version=1), replace(report(), columns=()), segmented())
    for text in map(prometheus_text, reports):
        done = subprocess.run([promtool, "check", "metrics"], input=text.encode(), capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    broken = prometheus_text(report()).replace('column="x"', 'column=x"')
    assert subprocess.run([promtool, "check", "metrics"], input=broken.encode(), check=False).returncode != 0


def segmented():
    inside = report()
    return replace(report(), segments=(SegmentDrift("shop", WILD, (10_100, 10_000), inside),))


def test_segments_have_families_of_their_own():
    found = segmented()
    _, samples = parsed(prometheus_text(found))
    labels = {"by": "shop", "segment": WILD, "column": "x"}
    assert samples["headrace_drift_segment_alarm", tuple(sorted(labels.items()))] == 1
    assert samples["headrace_drift_segment_undecided", tuple(sorted((labels | {"column": "empty"}).items()))] == 1
    part = labels | {"part": "values"}
    assert samples["headrace_drift_segment_effect", tuple(sorted(part.items()))] == found["x"].parts["values"].size
    rows = {"by": "shop", "segment": WILD, "side": "live"}
    assert samples["headrace_drift_segment_rows", tuple(sorted(rows.items()))] == 10_000
    plain = prometheus_text(report())
    assert "segment" not in plain
    assert prometheus_text(found).startswith(plain)
