"""Looking at what was done: runs, lineage, artifacts, store."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import polars as pl
import pytest


@pytest.fixture
def two_runs(project, headrace):
    first = headrace("run", "--json").document
    second = headrace("run", "--json", "--set", "ingest.rows=4").document
    return first, second


READS = [
    ["plan"],
    ["plan", "--json"],
    ["models", "list"],
    ["models", "list", "--json"],
    ["models", "show", "chain"],
    ["models", "history"],
    ["models", "promote", "chain@1", "--why", "w"],
    ["models", "rollback", "chain"],
    ["runs", "list"],
    ["runs", "show"],
    ["runs", "compare", "a", "b"],
    ["explain"],
    ["report", "-o", "-"],
    ["lineage", "chain@1"],
    ["reproduce", "chain@1"],
    ["artifacts", "show", "ab"],
    ["predict", "chain", "headrace.toml"],
    ["validate"],
    ["store", "fsck"],
    ["store", "gc"],
    ["plugins", "list"],
]


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_a_command_that_reads_writes_nothing_where_nothing_ever_ran(project, headrace, command, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = {path for path in project.rglob("*") if "__pycache__" not in path.parts}
    done = headrace(*command)
    assert done.code in (0, 2), done.err
    assert "bug of headrace" not in done.err
    assert {path for path in project.rglob("*") if "__pycache__" not in path.parts} == before


def test_fsck_of_nothing_says_so(project, headrace):
    done = headrace("store", "fsck")
    assert done.code == 2
    assert "there is no store here" in done.err


def test_no_runs_yet(project, headrace):
    assert "no runs yet" in headrace("runs", "list").out
    assert headrace("runs", "list", "--json").document == {"runs": []}
    done = headrace("runs", "show")
    assert done.code == 2
    assert "headrace run" in done.err


def test_runs_list(two_runs, headrace):
    document = headrace("runs", "list", "--json").document
    assert [run["id"] for run in document["runs"]] == [two_runs[1]["id"], two_runs[0]["id"]]
    assert document["runs"][0]["stages"] == {"executed": 3, "cached": 2}  # the evaluation came out equal
    assert len(headrace("runs", "list", "--limit", "1", "--json").document["runs"]) == 1
    words = headrace("runs", "list").out
    assert two_runs[0]["id"] in words
    assert "succeeded" in words


def test_runs_show(two_runs, headrace):
    first = two_runs[0]
    document = headrace("runs", "show", first["id"][:8], "--json").document
    assert document["id"] == first["id"]
    assert document["stages"] == first["stages"]
    assert document["provenance"]["python"]
    words = headrace("runs", "show", first["id"]).out
    assert "ingest.data" in words
    assert first["stages"][0]["outputs"]["data"]["digest"][:12] in words
    assert "python" in words


def test_an_unknown_run(two_runs, headrace):
    done = headrace("runs", "show", "ffffffffffff")
    assert done.code == 2
    assert "there is no run 'ffffffffffff'" in done.err
    assert "headrace runs list" in done.err


def test_runs_compare_shows_what_differs(two_runs, headrace):
    first, second = two_runs
    document = headrace("runs", "compare", first["id"], "--json").document
    assert (document["left"], document["right"]) == (first["id"], second["id"])
    found = {(d["section"], d["name"]): (d["left"], d["right"]) for d in document["differences"]}
    assert found["params", "ingest.rows"] == (3, 4)
    assert found["metrics", "ingest.rows"] == (3.0, 4.0)
    assert found["data", "ingest.data"] == tuple(run["stages"][0]["outputs"]["data"]["digest"] for run in two_runs)
    assert not any(d["same"] for d in document["differences"])
    assert ("params", "ingest.fail") not in found
    everything = headrace("runs", "compare", first["id"], "--all", "--json").document["differences"]
    assert {d["section"] for d in everything} >= {"params", "metrics", "data", "code", "distributions", "environment"}
    assert any(d["name"] == "polars" and d["same"] for d in everything)
    words = headrace("runs", "compare", first["id"], second["id"]).out
    assert "+1" in words
    assert "do not differ" in headrace("runs", "compare", first["id"], first["id"]).out


def digest_of(run, stage: str, output: str = "data") -> str:
    return next(s for s in run["stages"] if s["name"] == stage)["outputs"][output]["digest"]


def test_lineage_both_ways(two_runs, headrace):
    first = two_runs[0]
    features, ingest = digest_of(first, "features"), digest_of(first, "ingest")
    document = headrace("lineage", features[:10], "--json").document
    assert document["artifact"]["digest"] == features
    assert document["up"]["made_by"]["stage"] == "features"
    assert document["up"]["inputs"]["data"]["digest"] == ingest
    assert document["up"]["inputs"]["data"]["made_by"]["run"] == first["id"]
    assert document["up"]["inputs"]["data"]["inputs"] == {}
    assert document["down"]["used_by"][0]["stage"] == "evaluate"
    assert document["down"]["used_by"][0]["outputs"]["evaluation"]["used_by"][0]["stage"] == "gate"
    only_up = headrace("lineage", features, "--up", "--json").document
    assert "down" not in only_up
    only_down = headrace("lineage", ingest, "--down", "--json").document
    assert "up" not in only_down
    assert only_down["down"]["used_by"][0]["outputs"]["data"]["digest"] == features


def test_lineage_in_words(two_runs, headrace):
    first = two_runs[0]
    features, ingest = digest_of(first, "features"), digest_of(first, "ingest")
    lines = headrace("lineage", features).out.splitlines()
    stages = {s["name"]: f"{s['name']} ({s['kind']}:{s['use']})" for s in first["stages"]}
    assert lines[:3] == [
        "made from",
        f"dataset {features[:12]}  by {stages['features']} in run {first['id']}",
        f"└─ data: dataset {ingest[:12]}  by {stages['ingest']}",
    ]
    assert lines[4] == "came of it"
    assert lines[6].startswith(f"└─ {stages['evaluate']} in run {first['id']}")


def test_lineage_of_something_unknown(two_runs, headrace):
    done = headrace("lineage", "ffffffff")
    assert done.code == 2
    assert "there is no artifact ffffffff" in done.err
    assert headrace("lineage", "nosuch@champion").code == 2


def test_artifacts_show_and_export(two_runs, headrace, tmp_path):
    digest = digest_of(two_runs[0], "features")
    document = headrace("artifacts", "show", digest[:8], "--json").document
    assert document["artifact"]["digest"] == digest
    assert document["whole"] is True
    assert document["parts"]["frame"]["format"] == "parquet"
    assert digest in headrace("artifacts", "show", digest).out
    out = tmp_path / "out put"
    done = headrace("artifacts", "export", digest, out, "--json")
    assert {Path(path).name for path in done.document["files"]} == {"frame.parquet", "about.json"}
    assert pl.read_parquet(out / "frame.parquet")["a"].to_list() == [0, 2, 4]
    assert json.loads((out / "about.json").read_text())["num_rows"] == 3
    again = headrace("artifacts", "export", digest, out)
    assert again.code == 5
    assert "--force" in again.err
    assert headrace("artifacts", "export", digest, out, "--force").code == 0


def test_store_fsck_of_a_healthy_store(two_runs, headrace):
    document = headrace("store", "fsck", "--json").document
    assert document["ok"] is True
    assert document["artifacts"] >= 7
    assert "nothing is damaged" in headrace("store", "fsck").out


def test_store_fsck_finds_damage_and_repairs_it(two_runs, headrace):
    victim = next(path for path in Path(".headrace/objects").rglob("*") if path.is_file())
    victim.chmod(0o644)
    victim.write_bytes(b"x" * victim.stat().st_size)
    done = headrace("store", "fsck")
    assert done.code == 5
    assert "corrupt" in done.out
    assert "--repair" in done.err
    assert headrace("store", "fsck", "--repair").code == 0
    assert headrace("store", "fsck").code == 0
    assert headrace("run", "-q").code == 0


def test_store_gc_is_a_dry_run_unless_told(two_runs, headrace):
    for rows in range(5, 8):
        headrace("run", "-q", "--set", f"ingest.rows={rows}")
    options = ["--keep", "1", "--grace", "0"]
    dry = headrace("store", "gc", *options, "--json").document
    assert dry["dry_run"] is True
    assert dry["objects"] > 0
    assert "nothing was removed" in headrace("store", "gc", *options).out
    wet = headrace("store", "gc", "--delete", *options, "--json").document
    assert wet["dry_run"] is False
    assert wet["objects"] == dry["objects"]
    assert headrace("store", "fsck").code == 0
    assert headrace("store", "gc", *options, "--json").document["objects"] == 0


def test_store_merge(two_runs, headrace, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in [*Path().glob("stages_*.py"), Path("headrace.toml")]:
        (other / name.name).write_text(name.read_text())
    headrace("run", "-q", "--project", other, "--set", "ingest.rows=9")
    done = headrace("store", "merge", other)
    assert done.code == 0, done.err
    runs = headrace("runs", "list", "--json").document["runs"]
    assert len(runs) == 3
    assert headrace("store", "fsck").code == 0
    missing = headrace("store", "merge", tmp_path / "nothing")
    assert missing.code == 2
