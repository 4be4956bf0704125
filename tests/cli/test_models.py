"""Commands on a trained model: predict, models, reproduce, lineage of a version, validate."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from headrace.cli.main import cli

ROWS = 400

pytestmark = pytest.mark.xdist_group("trained model")


def call(*args: object) -> str:
    done = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project with two versions; the second is champion because a person said so."""
    folder = tmp_path_factory.mktemp("models")
    chance = random.Random(1)
    x = [chance.gauss(0, 1) for _ in range(ROWS)]
    frame = pl.DataFrame(
        {
            "id": range(ROWS),
            "x": x,
            "zip": [chance.choice(["0010", "0020", "a1"]) for _ in x],
            "paid": ["yes" if v + chance.gauss(0, 0.3) > 0 else "no" for v in x],
        }
    )
    frame.write_csv(folder / "shop.csv")
    frame.drop("paid").head(20).write_csv(folder / "new.csv")
    call("init", folder / "shop", "--data", folder / "shop.csv", "--target", "paid")
    first = json.loads(call("run", "-p", folder / "shop", "--json", "-q"))
    second = json.loads(call("run", "-p", folder / "shop", "--json", "-q", "--set", "train.num_leaves=4"))
    assert (first["version"]["number"], second["version"]["number"]) == (1, 2)
    return folder


@pytest.fixture
def shop(trained, tmp_path, monkeypatch):
    """A copy that a test may change, as the working directory: a store can be copied."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy" / "shop")
    return tmp_path / "copy"


# --- predict --------------------------------------------------------------------------------


def test_predict_to_stdout_is_csv(shop, headrace):
    done = headrace("predict", "shop@1", "../new.csv", "--columns", "id,zip")
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0] == "id,zip,prediction,probability_no,probability_yes"
    assert len(lines) == 21
    assert [int(line.split(",")[0]) for line in lines[1:]] == list(range(20))


READERS = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".ndjson": pl.read_ndjson, ".arrow": pl.read_ipc}


@pytest.mark.parametrize("suffix", READERS)
def test_predict_to_a_file(shop, headrace, suffix):
    done = headrace("predict", "shop@1", "../new.csv", "-o", f"out{suffix}", "--json")
    assert done.document == {
        "model": "shop",
        "version": 1,
        "rows": 20,
        "columns": ["prediction", "probability_no", "probability_yes"],
        "path": f"out{suffix}",
    }
    frame = READERS[suffix](f"out{suffix}")
    assert frame.columns == done.document["columns"]
    expected = pl.read_csv(headrace("predict", "shop@1", "../new.csv").out.encode())
    assert frame["probability_yes"].to_list() == expected["probability_yes"].to_list()


def test_a_package_that_was_lost_twice_is_made_again_twice(shop, headrace):
    champion = headrace("models", "show", "shop@champion", "--json").document
    card = champion["manifest"]["files"]["card.md"]["sha256"]
    leaves = {1: [], 2: ["--set", "train.num_leaves=4"]}[champion["number"]]
    for _ in range(2):
        (shop / "shop" / ".headrace" / "objects" / card[:2] / card[2:]).unlink()
        assert headrace("models", "show", "shop@champion").code == 5
        assert headrace("run", "-q", *leaves).code == 0
        assert headrace("models", "show", "shop@champion", "--json").document == champion


def test_predictions_are_not_written_over_what_they_predict(shop, headrace):
    before = (shop / "new.csv").read_bytes()
    done = headrace("predict", "shop@1", "../new.csv", "-o", "../new.csv")
    assert done.code == 2
    assert "would be lost" in done.err
    assert (shop / "new.csv").read_bytes() == before


def test_a_device_is_no_file(shop, headrace):
    done = headrace("predict", "shop@1", os.devnull)
    assert done.code == 3
    assert "no ordinary file" in done.err


def test_every_format_predicts_the_same(shop, headrace):
    frame = pl.read_csv("../new.csv", schema_overrides={"zip": pl.String})
    frame.write_parquet("new.parquet")
    frame.write_ipc("new.arrow")
    frame.write_ndjson("new.ndjson")
    wanted = headrace("predict", "shop@1", "../new.csv").out
    for name in ("new.parquet", "new.arrow", "new.ndjson"):
        assert headrace("predict", "shop@1", name).out == wanted


def test_predict_from_stdin(shop, headrace):
    data = Path("../new.csv").read_bytes()
    assert (
        headrace("predict", "shop@1", "-", "--format", "csv", stdin=data).out
        == headrace("predict", "shop@1", "../new.csv").out
    )


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (b"zip\n0010\n", ["--format", "csv"], ["'x'"]),
        (b"x,zip\n1,0010\nodd,0020\n", ["--format", "csv"], ["'odd'"]),
        (b"x,zip\n1,0010\n1,2,3\n", ["--format", "csv"], ["line 3"]),
        (b"x,zip\n1,0010\n", ["--format", "csv", "--columns", "y"], ["no column 'y'"]),
        (b"", [], ["is empty"]),
        (b"x,zip\n1,0010\n", [], ["--format csv"]),
        (b"PAR1", [], ["truncated"]),
    ],
)
def test_what_is_wrong_with_standard_input_is_said_of_standard_input(shop, headrace, data, options, words):
    done = headrace("predict", "shop@1", "-", *options, stdin=data)
    assert done.code in (2, 3)
    assert done.err.startswith("error: standard input")
    assert tempfile.gettempdir() not in done.err
    assert "stdin-" not in done.err
    for word in words:
        assert word in done.err


def test_a_text_column_that_is_all_digits_in_a_small_file(shop, headrace):
    Path("few.csv").write_text("x,zip\n0.5,0010\n-0.5,0020\n")
    done = headrace("predict", "shop@1", "few.csv")
    assert done.code == 0, done.err
    Path("gap.csv").write_text("x,zip\n0.5,\n-0.5,\n")
    assert headrace("predict", "shop@1", "gap.csv").code == 0


def test_all_columns_are_carried_with_a_star(shop, headrace):
    done = headrace("predict", "shop@1", "../new.csv", "--columns", "*")
    assert done.out.startswith("id,x,zip,prediction,")


def test_a_file_that_lacks_a_column(shop, headrace):
    Path("less.csv").write_text("zip,y\n0010,1\n")
    done = headrace("predict", "shop@1", "less.csv")
    assert done.code == 3
    assert "less.csv" in done.err
    assert "'x'" in done.err
    assert done.out == ""


def test_a_value_of_the_wrong_type_names_file_column_and_row(shop, headrace):
    Path("wrong.csv").write_text("x,zip\n1.0,a1\nmany,a1\n")
    done = headrace("predict", "shop@1", "wrong.csv", "-o", "out.parquet")
    assert done.code == 3
    for word in ("wrong.csv", "'x'", "row 1", "many"):
        assert word in done.err
    assert not Path("out.parquet").exists()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["shop@9", "../new.csv"], 2, ["no version 9", "1 to 2"]),
        (["shop@nobody", "../new.csv"], 2, ["no alias 'nobody'"]),
        (["shpo", "../new.csv"], 2, ["there is no model 'shpo'", "shop"]),
        (["Shop!", "../new.csv"], 2, ["'Shop!' is not a name"]),
        (["shop@1", "none.csv"], 3, ["none.csv", "no such file"]),
        (["shop@1", "../new.csv", "-o", "out.xlsx"], 2, ["'.xlsx' names no format"]),
        (["shop@1", "../new.csv", "--columns", "nmae"], 2, ["there is no column 'nmae'"]),
        (["shop@1", "../new.csv", "--json"], 2, ["--json needs -o"]),
        (["shop@1", "../new.csv", "-o", "no/such/out.csv"], 5, ["mkdir -p no/such"]),
    ],
)
def test_predict_refuses(shop, headrace, args, code, words):
    done = headrace("predict", *args)
    assert done.code == code
    assert done.out == ""
    for word in words:
        assert word in done.err


def test_a_carried_column_may_not_be_called_as_an_output(shop, headrace):
    Path("p.csv").write_text("x,zip,prediction\n1.0,a1,3\n")
    done = headrace("predict", "shop@1", "p.csv", "--columns", "prediction")
    assert done.code == 2
    assert "'prediction'" in done.err


# --- models --------------------------------------------------------------------------------


def test_models_list(shop, headrace):
    versions = headrace("models", "list", "--json").document["versions"]
    assert [(v["model"], v["number"]) for v in versions] == [("shop", 2), ("shop", 1)]
    assert "champion" in {alias for v in versions for alias in v["aliases"]}
    assert "shop@2" in headrace("models", "list").out


def test_models_list_of_a_project_that_has_none(shop, headrace):
    shutil.rmtree(".headrace")
    assert "no models yet" in headrace("models", "list").out


def test_models_show(shop, headrace):
    document = headrace("models", "show", "shop@1", "--json").document
    assert (document["name"], document["number"]) == ("shop", 1)
    assert "model.onnx" in document["manifest"]["files"]
    assert [i["name"] for i in document["signature"]["inputs"]] == ["x", "zip"]
    words = headrace("models", "show", "shop@1").out
    for word in ("shop@1", "model.onnx", "log_loss", "zip"):
        assert word in words


def test_promote_rollback_and_history(shop, headrace):
    before = headrace("models", "show", "shop@champion", "--json").document["number"]
    other = 3 - before
    done = headrace("models", "promote", f"shop@{other}", "--why", "a test")
    assert done.out == f"shop@champion is version {other} now, before: version {before}\n"
    assert headrace("models", "promote", f"shop@{other}", "--why", "again").out.strip().endswith("already")
    back = headrace("models", "rollback", "shop", "--why", "it was worse", "--json").document["move"]
    assert (back["version"], back["previous"], back["why"]) == (before, other, "it was worse")
    moves = headrace("models", "history", "--alias", "champion", "--json").document["moves"]
    assert [m["why"] for m in moves[:2]] == ["it was worse", "a test"]
    assert moves[0]["who"]
    assert moves[0]["at"].endswith("Z")
    assert moves[-1]["gate"]
    assert "it was worse" in headrace("models", "history").out
    named = headrace("models", "promote", "shop@1", "--alias", "watched", "--why", "a look")
    assert named.out == "shop@watched is version 1 now\n"


def test_promote_needs_a_reason(shop, headrace):
    done = headrace("models", "promote", "shop@1")
    assert done.code == 2
    assert "--why" in done.err


# --- where it came from --------------------------------------------------------------------------------


def test_reproduce(shop, headrace):
    done = headrace("reproduce", "shop@1", "--json", "-q")
    assert done.code == 0, done.err
    verdicts = {stage["stage"]: stage["verdict"] for stage in done.document["stages"]}
    assert done.document["equal"] is True
    assert verdicts["train"] == "identical"
    assert verdicts["register"] == "not repeated"
    assert "equal (tolerance 0)" in headrace("reproduce", "shop@1", "--tolerance", "0", "-q").out


def test_lineage_of_a_version(shop, headrace):
    document = headrace("lineage", "shop@1", "--json").document
    assert document["artifact"]["type"] == "model-version"
    assert set(document["up"]["inputs"]) >= {"model", "plan", "evaluation", "gate"}
    model = document["up"]["inputs"]["model"]
    assert model["made_by"]["stage"] == "train"
    down = headrace("lineage", model["digest"], "--down", "--json").document["down"]
    assert {"name": "shop", "number": 1} in down["versions"]
    assert {use["stage"] for use in down["used_by"]} >= {"evaluate", "gate", "register", "report"}
    assert "= shop@1" in headrace("lineage", model["digest"], "--down").out


# --- validate --------------------------------------------------------------------------------


def test_validate_the_projects_own_data(shop, headrace):
    done = headrace("validate")
    assert done.code == 0
    assert "400 rows" in done.out
    assert "all of them hold" in done.out
    assert headrace("validate", "--json").document["findings"] == []


def test_validate_a_file_with_findings(shop, headrace):
    text = Path("../shop.csv").read_text().replace(",a1,", ",unheard,", 1)
    Path("odd.csv").write_text(text)
    done = headrace("validate", "odd.csv", "--json")
    assert done.code == 0, done.err
    finding = done.document["findings"][0]
    assert (finding["column"], finding["policy"], finding["failed_rows"]) == ("zip", "warn", 1)
    assert "zip" in headrace("validate", "odd.csv").out


def test_validate_a_file_that_must_not_pass(shop, headrace):
    Path("bad.csv").write_text("id,x,zip,paid\n1,2.5,a1,yes\n1,,a1,no\n")
    done = headrace("validate", "bad.csv")
    assert done.code == 3
    assert "expectations.toml" in done.err


def test_suggest(shop, headrace, tmp_path):
    text = headrace("validate", "--suggest", "../shop.csv").out
    assert "[columns.zip]" in text
    assert headrace("validate", "--suggest").out == text
    assert headrace("validate", "--suggest", "../shop.csv", "-o", tmp_path / "e.toml").code == 0
    assert (tmp_path / "e.toml").read_text() == text
    again = headrace("validate", "--suggest", "../shop.csv", "-o", tmp_path / "e.toml")
    assert again.code == 2
    assert "--force" in again.err
    assert headrace("validate", "-o", "x.toml").code == 2
    assert headrace("validate", "--suggest", "--json").code == 2


def test_suggest_needs_no_project(shop, headrace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert headrace("validate", "--suggest", shop / "shop.csv").code == 0


@pytest.mark.parametrize(
    "command",
    [
        ["promote", "a b@1", "--why", "w"],
        ["promote", "shop@1", "--alias", "not/one", "--why", "w"],
        ["promote", "shop@1", "--alias", "7", "--why", "w"],
        ["promote", "shop@no such", "--why", "w"],
        ["rollback", "Shop"],
        ["history", "../shop"],
        ["show", "shop@"],
    ],
)
def test_a_name_that_cannot_be_one_is_wrong_usage(shop, headrace, command):
    done = headrace("models", *command)
    assert done.code == 2
    assert "is not a name for a" in done.err


# --- init --------------------------------------------------------------------------------


def test_init_says_what_it_saw_and_what_is_next(shop, headrace, tmp_path):
    done = headrace("init", tmp_path / "again", "--data", "../shop.csv", "--target", "paid")
    assert done.code == 0
    assert "400 rows, 4 columns" in done.out
    assert "paid (binary, 2 classes)" in done.out
    assert "not features  id" in done.out
    assert f"next: headrace run --project {tmp_path / 'again'}" in done.out
    again = headrace("init", tmp_path / "again", "--data", "../shop.csv", "--target", "paid")
    assert again.code == 2
    assert "--force" in again.err


def test_init_says_how_to_read_what_it_cannot(headrace, tmp_path):
    rows = "\n".join(f"{i if i != 9 else 'lost'},{i % 3 % 2}" for i in range(100))
    (tmp_path / "d.csv").write_text(f"x,y\n{rows}\n")
    done = headrace("init", tmp_path / "p", "--data", tmp_path / "d.csv", "--target", "y")
    assert done.code == 3
    assert """--set 'ingest.null_values=["lost"]'""" in done.err
    said = ("--set", 'ingest.null_values=["lost"]')
    assert headrace("init", tmp_path / "p", "--data", tmp_path / "d.csv", "--target", "y", *said).code == 0
    assert 'null_values = ["lost"]' in (tmp_path / "p" / "headrace.toml").read_text()


def test_init_of_something_that_is_not_there(headrace, tmp_path):
    done = headrace("init", tmp_path / "p", "--data", tmp_path / "no.csv", "--target", "y")
    assert done.code == 3
    assert "no.csv" in done.err
    assert not os.path.lexists(tmp_path / "p")
