from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from headrace.cli.main import main; main()"]


def outcomes(document) -> dict[str, str]:
    return {stage["name"]: stage["outcome"] for stage in document["stages"]}


def test_a_run_in_words(project, headrace):
    done = headrace("run")
    assert done.code == 0
    assert "of chain: succeeded in" in done.out
    lines = done.out.splitlines()
    table = lines[lines.index(next(line for line in lines if line.startswith("stage "))) :]
    assert [line.split()[0] for line in table[1:6]] == ["ingest", "features", "evaluate", "gate", "report"]
    assert all("executed" in line and "first time" in line for line in table[1:6])
    metrics = [line.split() for line in lines if line.startswith(("log_loss", "roc_auc", "mcc"))]
    assert metrics == [
        ["log_loss", "(primary)", "0.5000", "0.4000", "..", "0.6000", "0.6931", "lower"],
        ["mcc", "-", "-", "-", "higher"],
        ["roc_auc", "0.7500", "0.7000", "..", "0.8000", "-", "higher"],
    ]
    assert "gate    passed (there was no champion)" in done.out
    assert "report  headrace report -o report.html" in done.out
    assert "ingest: started" in done.err
    assert "ingest: makes 3 rows" in done.err
    assert "ingest: executed in" in done.err
    assert "\x1b" not in done.out + done.err


def test_a_run_as_json(project, headrace):
    done = headrace("run", "--json", "--quiet", "--trigger", "by a test")
    assert done.code == 0
    assert done.err == ""
    document = done.document
    assert document["project"] == "chain"
    assert document["status"] == "succeeded"
    assert document["trigger"] == "by a test"
    assert set(outcomes(document).values()) == {"executed"}
    ingest = document["stages"][0]
    assert ingest["metrics"] == {"rows": 3.0, "loss@1": 0.5}
    assert ingest["outputs"]["data"]["type"] == "dataset"
    assert document["stages"][1]["inputs"]["data"] == ingest["outputs"]["data"]["digest"]
    assert document["evaluation"]["metrics"]["mcc"]["value"] is None
    assert document["gate"] == {
        "passed": True,
        "champion": None,
        "checks": [{"name": "floor", "passed": True, "found": 0.5, "required": 0.4, "message": "log loss is 0.5"}],
    }
    assert document["version"] is None
    assert len(document["report"]) == 64
    assert document["started"].endswith("Z")


def test_the_second_run_executes_nothing(project, headrace):
    headrace("run", "-q")
    assert set(outcomes(headrace("run", "--json").document).values()) == {"cached"}


def test_force_set_and_env(project, headrace):
    headrace("run", "-q")
    forced = outcomes(headrace("run", "--json", "--force", "features").document)
    assert forced["features"] == "executed"
    assert forced["evaluate"] == "cached"  # the forced stage gave the same
    changed = headrace("run", "--json", "--set", "ingest.rows=4").document
    assert outcomes(changed)["evaluate"] == "executed"
    assert changed["stages"][0]["why"] == "config rows changed: 3 -> 4"
    large = headrace("run", "--json", "--env", "large").document
    assert large["stages"][0]["metrics"]["rows"] == 30.0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--set", "nonsense"], ["'nonsense' is not an override", "STAGE.KEY=VALUE"]),
        (["--set", "ingest.rwos=1"], ["has no key 'rwos'", "rows"]),
        (["--set", "ingest.rows=many"], ["key 'rows'", "many"]),
        (["--force", "ingets"], ["there is no stage 'ingets'", "ingest"]),
        (["--env", "larg"], ["[env.larg]", "large"]),
        (["--jobs", "0"], ["0 is not in the range"]),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_right(project, headrace, args, words):
    done = headrace("run", *args)
    assert done.code == 2
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert not Path(".headrace/runs").exists() or not headrace("runs", "list", "--json").document["runs"]


def test_a_failed_stage_is_3_and_the_table_is_there(project, headrace):
    done = headrace("run", "--set", "features.fail=true")
    assert done.code == 3
    assert "failed" in done.out
    assert "skipped" in done.out
    assert "error: stage features: ValueError: no luck \\x1b[31m today" in done.err
    assert "Traceback" not in done.err
    document = headrace("runs", "show", "--json").document
    assert f"hint: `headrace explain {document['id']}` shows its log, with the traceback." in done.err
    assert "ValueError: no luck" in headrace("explain").out
    assert "Traceback (most recent call last)" in headrace("run", "--set", "features.fail=true", "--traceback").err
    assert outcomes(document) == {
        "ingest": "executed",
        "features": "failed",
        "evaluate": "skipped",
        "gate": "skipped",
        "report": "skipped",
    }
    assert document["gate"] is None
    assert headrace("run", "--json").code == 0


def test_an_error_with_a_way_out_shows_it_once(project, headrace):
    path = next(Path().glob("stages_*.py"))
    text = "from headrace.errors import DataError\n" + path.read_text()
    wrong = 'raise DataError("it is odd", place="column a, row 3", hint="Mend it.")'
    path.write_text(text.replace('raise ValueError("no luck \\x1b[31m today")', wrong))
    done = headrace("run", "-q", "--set", "features.fail=true")
    assert done.code == 3
    assert done.err == "error: stage features: column a, row 3: it is odd\n  hint: Mend it.\n"


def test_a_failed_run_as_json_is_one_document_and_3(project, headrace):
    done = headrace("run", "--json", "--set", "features.fail=true")
    assert done.code == 3
    assert done.document["status"] == "failed"


def test_the_gate_fails_the_command_only_when_asked(project, headrace):
    refused = ["run", "-q", "--set", "gate.good=false"]
    assert headrace(*refused).code == 0
    done = headrace(*refused, "--fail-on-gate")
    assert done.code == 4
    assert "gate    refused (there was no champion): log loss is 0.5" in done.out
    assert "error: the gate refused the model: log loss is 0.5" in done.err
    assert headrace("run", "-q", "--fail-on-gate").code == 0


def test_the_report_is_written_where_it_is_asked_for(project, headrace):
    assert headrace("run", "-q", "--report", "page.html").code == 0
    assert Path("page.html").read_text(encoding="utf-8") == "<!doctype html><p>seen: é</p>"
    assert not [name for name in Path().iterdir() if name.name.startswith(".page")]
    assert headrace("report", "-o", "again.html").err == "wrote again.html\n"
    assert Path("again.html").read_bytes() == Path("page.html").read_bytes()
    assert headrace("report", "-o", "-").out == Path("page.html").read_text(encoding="utf-8")
    missing = headrace("report", "-o", "no/such/page.html")
    assert missing.code == 5
    assert "mkdir -p no/such" in missing.err


def test_a_run_without_a_report_says_so(project, headrace):
    headrace("run", "-q", "--set", "features.fail=true")
    done = headrace("report", "-o", "x.html")
    assert done.code == 2
    assert "has no report" in done.err
    assert not Path("x.html").exists()


def test_plan_says_what_a_run_would_do(project, headrace):
    fresh = headrace("plan", "--json").document["stages"]
    assert [stage["will"] for stage in fresh] == ["execute", *["depends"] * 4]
    assert not headrace("runs", "list", "--json").document["runs"]
    headrace("run", "-q")
    assert {stage["will"] for stage in headrace("plan", "--json").document["stages"]} == {"cached"}
    planned = headrace("plan", "--json", "--set", "features.rows=9").document["stages"]
    assert [stage["will"] for stage in planned] == ["cached", "execute", "depends", "depends", "depends"]
    assert planned[1]["why"] == "config rows changed: 3 -> 9"
    ran = headrace("run", "--json", "--set", "features.rows=9").document["stages"]
    assert [stage["key"] for stage in planned[:2]] == [stage["key"] for stage in ran[:2]]
    assert headrace("plan", "--force", "gate", "--json").document["stages"][3]["why"] == "forced"
    assert "seen later" in headrace("plan", "--force", "ingest").out


def test_plan_of_an_object_that_is_gone(project, headrace):
    ran = headrace("run", "--json").document
    digest = ran["stages"][0]["outputs"]["data"]["digest"]
    frame = headrace("artifacts", "show", digest, "--json").document["parts"]["frame"]
    next(Path(".headrace/objects").rglob(f"*{frame['sha256'][4:]}*")).unlink()
    first = headrace("plan", "--json").document["stages"][0]
    assert (first["will"], first["why"]) == ("execute", "its outputs are not in the store any more, or are damaged")
    again = outcomes(headrace("run", "--json").document)
    assert again["ingest"] == "executed"
    assert again["features"] == "cached"


def test_explain(project, headrace):
    headrace("run", "-q")
    headrace("run", "-q", "--set", "ingest.rows=5")
    document = headrace("explain", "--json").document
    ingest, features = document["stages"][:2]
    assert document["before"]
    assert (ingest["outcome"], ingest["changes"]) == ("executed", ["config rows changed: 3 -> 5"])
    assert ingest["log"] == ["makes 5 rows"]
    assert features["changes"] == ["input 'data' changed"]
    first = headrace("runs", "list", "--json").document["runs"][1]["id"]
    assert headrace("explain", first, "--json").document["before"] is None
    words = headrace("explain").out
    assert "executed: config rows changed: 3 -> 5" in words
    assert "| makes 5 rows" in words


# --- interrupts -------------------------------------------------------------------------------------------------------

WAITING = """
from typing import NamedTuple
import time
from pydantic import BaseModel
from headrace import Dataset, StageContext

class Made(NamedTuple):
    data: Dataset

class Wait:
    class Config(BaseModel):
        listens: bool = True

    def __init__(self, config):
        self.config = config

    def run(self, ctx: StageContext) -> Made:
        ctx.log("waiting")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.config.listens:
                ctx.check_cancelled()
            time.sleep(0.01)
        raise RuntimeError("nobody stopped it")
"""


@pytest.fixture
def waiting(tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "headrace.toml").write_text('[project]\nname = "w"\n[ingest]\nuse = "waiting:Wait"\n')
    started = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, "run", "--project", str(tmp_path), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        until(process, "waiting")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"it ended without saying {word!r}")


def status(tmp_path: Path) -> str:
    done = subprocess.run(
        [*COMMAND, "runs", "list", "--json", "--project", str(tmp_path)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)["runs"][0]["status"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_the_run(waiting, tmp_path, number):
    process = waiting()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopping" in err
    assert "was stopped; what had ended is kept" in err
    assert "Traceback" not in err
    assert status(tmp_path) == "cancelled"


def test_the_second_signal_ends_at_once(waiting, tmp_path):
    process = waiting("--set", "ingest.listens=false")
    process.send_signal(signal.SIGINT)
    until(process, "stopping")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=5)  # the stage would hold it for ten seconds
    assert process.returncode == 130
    assert "Traceback" not in err
    assert status(tmp_path) == "crashed"
