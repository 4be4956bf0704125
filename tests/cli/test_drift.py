"""`headrace profile` and `headrace drift`: files, profiles, windows, models; verdicts, pages, exit codes."""

from __future__ import annotations

import json
import math
import random
from datetime import date, timedelta

import polars as pl
import pytest
from click.testing import CliRunner

from headrace import Profile
from headrace.cli.main import cli
from headrace.errors import ModelFormatError

ROWS = 3000


def table(seed: int, *, shift: float = 0.0, rows: int = ROWS) -> pl.DataFrame:
    chance = random.Random(seed)
    first = date(2024, 1, 1)
    return pl.DataFrame(
        {
            "row": range(seed * 100_000, seed * 100_000 + rows),
            "key": [f"k{seed}-{i}" for i in range(rows)],
            "day": [first + timedelta(days=31 * seed + i * 30 // rows) for i in range(rows)],
            "warm": [round(chance.gauss(10 + 10 * shift, 4), 1) for _ in range(rows)],
            "shop": [chance.choice(["north", "south", "east"]) for _ in range(rows)],
            "count": [chance.randrange(8) for _ in range(rows)],
            "odd": [[1, 2]] * rows,
        }
    )


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(1).write_parquet("winter.parquet")
    table(2).write_parquet("same.parquet")
    table(3, shift=1.0).write_parquet("summer.parquet")
    return tmp_path


def test_data_against_data(files, headrace):
    done = headrace("drift", "winter.parquet", "summer.parquet", "--json")
    assert done.code == 0
    assert [c["name"] for c in done.document["columns"] if c["verdict"] == "drift"] == ["warm"]
    assert done.document["drift"] is True
    assert done.document["live"] == {"name": "summer.parquet", "rows": ROWS}
    # What names rows is left out, and so is what has no profile; both are said.
    assert {c["name"] for c in done.document["columns"]} == {"day (weekday)", "warm", "shop", "count"}
    assert "day: moves on with time" in done.err
    insists = headrace("drift", "winter.parquet", "summer.parquet", "--json", "--columns", "day").document["columns"]
    assert (insists[0]["name"], insists[0]["verdict"]) == ("day", "drift")
    assert not {"row", "key", "odd"} & {c["name"] for c in done.document["columns"]}
    for name in ("row", "key", "odd"):
        assert f"left out {name}: " in done.err


def test_the_table_is_ranked_and_no_drift_is_no_drift(files, headrace):
    done = headrace("drift", "winter.parquet", "summer.parquet", "--time-column", "day")
    lines = done.out.splitlines()
    assert lines[0].split()[:2] == ["column", "verdict"]
    assert lines[1].split()[:2] == ["warm", "drift"]
    assert "1 of 3 columns drifted" in done.out
    same = headrace("drift", "winter.parquet", "same.parquet", "--columns", "warm,shop,count", "--fail-on-drift")
    assert same.code == 0
    assert "0 of 3 columns drifted" in same.out


def test_drift_can_be_a_failure(files, headrace):
    done = headrace("drift", "winter.parquet", "summer.parquet", "--fail-on-drift", "--time-column", "day")
    assert done.code == 6
    assert "summer.parquet: warm drifted" in done.err
    assert "warm" in done.out  # the table is there all the same


def test_profiles_and_windows_say_the_same_as_the_data(files, headrace):
    made = headrace("profile", "winter.parquet", "-o", "winter.profile", "--json")
    assert made.code == 0
    assert (made.document["rows"], set(made.document["columns"])) == (ROWS, {"day", "warm", "shop", "count"})
    assert Profile.from_bytes((files / "winter.profile").read_bytes()).fingerprint == made.document["fingerprint"]
    assert headrace("profile", "summer.parquet", "--on", "winter.profile", "-o", "summer.window").code == 0

    def columns(*args):
        return headrace("drift", *args, "--json").document["columns"]

    direct = columns("winter.parquet", "summer.parquet")
    assert columns("winter.profile", "summer.parquet") == direct
    assert columns("winter.profile", "summer.window") == direct
    own = headrace("drift", "winter.profile", "winter.profile", "--json").document
    assert own["drift"] is False


def test_text_files_are_read_with_the_types_of_the_reference(files, headrace):
    live = table(3, shift=1.0).drop("odd")
    live.write_csv("summer.csv")
    found = headrace("drift", "winter.parquet", "summer.csv", "--json").document["columns"]
    direct = headrace("drift", "winter.parquet", "summer.parquet", "--json").document["columns"]
    assert found == direct


def test_periods_page_and_prometheus(files, headrace):
    pytest.importorskip("matplotlib")
    args = ("drift", "winter.parquet", "summer.parquet", "--time-column", "day", "--period", "week")
    done = headrace(*args, "--html", "d.html", "--prometheus", "d.prom", "--json")
    assert done.code == 0, done.err
    periods = done.document["periods"]
    assert sum(p["rows"] for p in periods) == ROWS
    assert all("warm" in p["drifted"] for p in periods)
    page = (files / "d.html").read_text()
    assert page.count("<svg") == 1 + len(done.document["columns"])
    assert 'headrace_drift_alarm{column="warm"} 1.0' in (files / "d.prom").read_text()
    before = page
    headrace(*args, "--html", "d.html")
    assert (files / "d.html").read_text() == before


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["drift", "none.parquet", "same.parquet"], 3, ["none.parquet", "no such file"]),
        (["drift", "winter.parquet", "none.parquet"], 3, ["none.parquet"]),
        (["drift", "shop@champion", "same.parquet"], 2, ["headrace.toml"]),
        (["drift", "winter.parquet", "same.parquet", "--columns", "nope"], 3, ["nope"]),
        (["drift", "winter.parquet", "same.parquet", "--period", "day"], 2, ["--time-column"]),
        (
            ["drift", "winter.parquet", "same.parquet", "--period", "day", "--time-column", "warm"],
            3,
            ["warm", "Float64"],
        ),
        (["drift", "winter.parquet", "same.parquet", "--delta", "2"], 2, ["--delta"]),
        (["drift", "winter.parquet", "other.parquet"], 3, ["other.parquet", "warm"]),
        (["drift", "w.profile", "own.profile"], 3, ["own.profile", "--on"]),
        (["drift", "w.profile", "torn.profile"], 3, ["torn.profile", "checksum"]),
        (["drift", "winter.parquet", "strange.parquet"], 3, ["strange.parquet", "warm"]),
        (["profile", "winter.parquet", "-o", "x", "--on", "w.profile", "--columns", "warm"], 2, ["--on"]),
        (["profile", "winter.parquet", "-o", "no/where"], 5, ["mkdir -p no"]),
    ],
)
def test_what_is_wrong_is_said(files, headrace, args, code, words):
    table(2).drop("warm").write_parquet("other.parquet")
    table(2).with_columns(pl.col("warm").cast(pl.String)).write_parquet("strange.parquet")
    headrace("profile", "winter.parquet", "-o", "w.profile", "--columns", "warm")
    headrace("profile", "summer.parquet", "-o", "own.profile", "--columns", "warm")
    data = (files / "w.profile").read_bytes()
    (files / "torn.profile").write_bytes(data[:-40] + data[-20:])
    done = headrace(*args)
    assert done.code == code, done.err
    for word in words:
        assert word in done.err


def test_new_columns_are_named_and_no_drift(files, headrace):
    headrace("profile", "winter.parquet", "-o", "w.profile", "--columns", "warm,shop")
    table(2).select("warm", "shop").with_columns(fresh=pl.lit(1), more=pl.lit("a")).write_parquet("new.parquet")
    done = headrace("drift", "w.profile", "new.parquet", "--json")
    assert "new.parquet: not in the reference's profile, so not compared: fresh, more" in done.err
    assert {one["name"] for one in done.document["columns"]} == {"warm", "shop"}
    assert done.document["drift"] is False


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("no rows", lambda f: f.head(0), None),
        ("all null", lambda f: f.with_columns(warm=pl.lit(None, pl.Float64)), ["warm"]),
        ("infinite", lambda f: f.with_columns(warm=pl.lit(float("-inf"))), ["warm"]),
        ("constant", lambda f: f.with_columns(warm=pl.lit(10.0)), ["warm"]),
        ("one category", lambda f: f.with_columns(shop=pl.lit("north")), ["shop"]),
        ("another type", lambda f: f.with_columns(pl.col("warm").cast(pl.String) + "x"), None),
        ("no such column", lambda f: f.drop("warm"), None),
        ("as it was", lambda f: f, []),
    ],
)
def test_odd_live_rows_get_a_verdict_or_an_error(files, headrace, name, change, says):
    """Against a file, and against its profile: what drifted, or which file and column are wrong; no alarm besides."""
    change(table(2).select("warm", "shop", "count")).write_parquet("odd.parquet")
    headrace("profile", "winter.parquet", "-o", "w.profile", "--columns", "warm,shop,count")
    for ref in ("winter.parquet", "w.profile"):
        done = headrace("drift", ref, "odd.parquet", "--columns", "warm,shop,count", "--json")
        if says is None:
            assert done.code == 3, name
            assert "odd.parquet" in done.err
            assert "warm" in done.err or name == "no rows"
        else:
            assert [c["name"] for c in done.document["columns"] if c["verdict"] == "drift"] == says


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("all null", [None] * 300),
        ("constant", [1.5] * 300),
        ("one category", ["a"] * 300),
        ("infinite", [float("inf"), float("-inf"), 1.0] * 100),
        ("not numbers", [float("nan")] * 300),
        ("denormal", [5e-324 * (i % 7) for i in range(300)]),
        ("zeros of both signs", [0.0, -0.0] * 150),
    ],
)
def test_odd_references_raise_no_alarm(files, headrace, name, values):
    frame = pl.DataFrame({"x": values, "y": [i % 5 for i in range(300)]})
    frame.write_parquet("odd.parquet")
    frame.reverse().write_parquet("again.parquet")
    assert headrace("profile", "odd.parquet", "-o", "o.profile").code == 0
    for ref in ("odd.parquet", "o.profile"):
        done = headrace("drift", ref, "again.parquet", "--json", "--prometheus", "o.prom")
        assert (done.code, done.document["drift"]) == (0, False), name


def test_a_profile_cut_at_any_byte_is_an_error_that_names_the_file(files):
    from headrace.project.drift import Options, Source, compare_sources

    pl.DataFrame({"x": [1.0, 2.0] * 20}).write_parquet("x.parquet")
    data = headrace_profile(files / "x.parquet")
    for end in range(len(b"headraceP"), len(data)):
        (files / "cut.profile").write_bytes(data[:end])
        with pytest.raises(ModelFormatError, match=r"no profile|damaged") as raised:
            compare_sources(Source(), "cut.profile", files / "x.parquet", Options(), lambda _: None)
        assert "cut.profile" in str(raised.value)


def headrace_profile(path) -> bytes:
    return Profile.fit(pl.read_parquet(path)).to_bytes()


def call(*args: object) -> str:
    done = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")
    chance = random.Random(5)
    frame = table(1, rows=1500).drop("odd", "row", "key")
    late = [value + chance.gauss(0, 2) > 10 for value in frame["warm"]]
    frame.with_columns(pl.Series("late", late)).write_parquet(folder / "past.parquet")
    call("init", folder / "shop", "--data", folder / "past.parquet", "--target", "late")
    call("run", "-p", folder / "shop", "-q")
    return folder / "shop"


def test_a_registered_model(registered, tmp_path, headrace, monkeypatch):
    from headrace import hookimpl
    from headrace.hooks.manager import PluginManager

    told = []

    class Listener:
        @hookimpl
        def on_drift(self, report, run, stage):
            told.append((report.drifted, report.about["model"], run, stage))

    discover = PluginManager.discover
    monkeypatch.setattr(
        PluginManager, "discover", classmethod(lambda cls, **o: discover(**{**o, "extra": [Listener()]}))
    )
    table(1, rows=1500).write_parquet(tmp_path / "same.parquet")
    table(3, shift=1.0, rows=1500).write_parquet(tmp_path / "summer.parquet")
    same = headrace("drift", "shop@champion", tmp_path / "same.parquet", "-p", registered, "--json")
    assert same.code == 0, same.err
    assert same.document["drift"] is False
    assert told == []
    done = headrace("drift", "shop", tmp_path / "summer.parquet", "-p", registered, "--json", "--time-column", "day")
    drifted = [c["name"] for c in done.document["columns"] if c["verdict"] == "drift"]
    assert {"warm", "prediction", "probability_true"} <= set(drifted)
    assert done.document["about"]["model"] == "shop"
    assert [(names, model, run, stage) for names, model, run, stage in told] == [(tuple(drifted), "shop", None, None)]
    assert all(math.isfinite(c["importance"]) for c in done.document["columns"])
    text = headrace("drift", "shop", tmp_path / "summer.parquet", "-p", registered).out
    assert "importance" in text.splitlines()[0]
    assert json.dumps(done.document)


def test_segments_by_themselves(files, headrace):
    """Rows of one shop are warmer: its segment says so, the others do not; in text, as JSON, and on the page."""
    summer = table(2).with_columns(warm=pl.col("warm") + pl.when(pl.col("shop") == "south").then(8.0).otherwise(0.0))
    summer.write_parquet("south.parquet")
    asked = ("drift", "winter.parquet", "south.parquet", "--segment", "shop", "--columns", "warm,count")
    done = headrace(*asked, "--json", "--html", "page.html")
    segments = {one["segment"]: one for one in done.document["segments"]}
    assert segments.keys() == {"north", "south", "east"}
    assert {name: one["drifted"] for name, one in segments.items()} == {"north": [], "south": ["warm"], "east": []}
    for name, one in segments.items():
        assert one["rows"] == {
            "reference": table(1).filter(pl.col("shop") == name).height,
            "live": summer.filter(pl.col("shop") == name).height,
        }
        assert {column["name"] for column in one["columns"]} == {"warm", "count"}
    # One share of false alarms over all: the adjusted p-values are those of all of them together.
    every = [c for one in segments.values() for c in one["columns"]]
    ordered = sorted(every, key=lambda c: c["pvalue_delta"])
    bounds = [c["pvalue_delta"] * len(ordered) / rank for rank, c in enumerate(ordered, 1)]
    for at, column in enumerate(ordered):
        assert column["pvalue_adjusted"] == pytest.approx(min(1.0, *bounds[at:]))
    assert "By segment" in (files / "page.html").read_text()
    lines = headrace(*asked).out.splitlines()
    head = next(at for at, line in enumerate(lines) if line.split()[:1] == ["segment"])
    assert {line.split()[0]: line.split()[2] for line in lines[head + 1 :]} == {"north": "0", "south": "1", "east": "0"}


def test_segments_of_each_period(files, headrace):
    """From the third week on the rows of one shop are warmer: with --segment these weeks say so, and no other."""
    late = (pl.col("day") >= date(2024, 3, 18)) & (pl.col("shop") == "south")  # a Monday
    table(2).with_columns(warm=pl.col("warm") + pl.when(late).then(12.0).otherwise(0.0)).write_parquet("south.parquet")
    asked = ("drift", "winter.parquet", "south.parquet", "--columns", "warm,count", "--time-column", "day")
    asked = (*asked, "--period", "week")
    done = headrace(*asked, "--segment", "shop", "--json", "--html", "page.html")
    assert done.code == 0, done.err
    for one in done.document["periods"]:
        assert one["segments"].keys() == {"north", "south", "east"}
        changed = [name for name, drifted in one["segments"].items() if drifted]
        assert changed == ["south"] * (one["start"] >= "2024-03-18"), one["start"]
    assert "warm where shop is south" in headrace(*asked, "--segment", "shop").out
    assert "warm where shop is south" in (files / "page.html").read_text()
    assert headrace(*asked, "--json").document["periods"][0]["segments"] == {}


def test_segments_that_the_reference_has_not(files, headrace):
    headrace("profile", "winter.parquet", "-o", "winter.profile", "--columns", "warm,shop", "--segments", "shop")
    told = headrace("drift", "winter.profile", "summer.parquet", "--segment", "shop", "--json").document
    assert {one["segment"] for one in told["segments"]} == {"north", "south", "east"}
    wrong = headrace("drift", "winter.profile", "summer.parquet", "--segment", "count")
    assert wrong.code != 0
    assert "segments by 'shop'" in wrong.err


def test_a_column_that_emptied_is_compared_without_a_project_too(tmp_path, monkeypatch, headrace):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full.csv").write_text("q,k\n" + "".join(f"{i % 7}.5,{i % 3}\n" for i in range(2000)))
    (tmp_path / "empty.csv").write_text("q,k\n" + "".join(f",{i % 3}\n" for i in range(2000)))
    done = headrace("drift", "full.csv", "empty.csv", "--json")
    assert done.code == 0, done.err
    assert {c["name"]: c["verdict"] for c in done.document["columns"]} == {"q": "drift", "k": "no drift"}
