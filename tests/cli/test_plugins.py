from __future__ import annotations

import json

import pytest

from headrace.cli.main import cli

GOOD = """
from headrace import hookimpl

@hookimpl
def headrace_stages(registry):
    registry.add("enrich", "shiny", "shiny_stage:Shiny")
    registry.add("train", "shiny", "shiny_stage:Shiny")

@hookimpl
def before_run(run): ...
"""
STAGE = '''
from headrace import Dataset, Params, StageContext
from pydantic import BaseModel, ConfigDict, Field

class Shiny:
    """Makes a table shiny.

    And more.
    """

    deterministic = False

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        polish: int = Field(3, ge=1, description="How often it is polished: \\x1b[31mred")
        target: str = Field(description="The target.")

    def __init__(self, config): ...
    def run(self, ctx: StageContext, data: Dataset, params: Params | None = None) -> Dataset: ...
'''


@pytest.fixture
def headrace(capsys, tmp_path, monkeypatch):
    """Run a command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*args):
        code = cli.main(["plugins", *args], standalone_mode=False)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def shiny(site):
    site.install(
        "headrace-shiny",
        "1.2",
        plugins={"s": "shiny_plugin"},
        files={"shiny_plugin.py": GOOD, "shiny_stage.py": STAGE},
    )
    return site


def test_list(headrace, shiny):
    code, out, err = headrace("list")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["headrace-shiny", "1.2", "ok", "before_run,", "headrace_stages"] in lines
    assert ["enrich", "shiny", "headrace-shiny", "1.2"] in lines
    assert any(line[:3] == ["train", "lightgbm", "headrace"] for line in lines)


def test_list_of_one_kind(headrace, shiny):
    code, out, _ = headrace("list", "--kind", "enrich")
    assert code == 0
    assert "lightgbm" not in out
    code, _, err = headrace("list", "--kind", "enrihc")
    assert code == 2
    assert "'enrich'" in err


def test_list_as_json(headrace, shiny):
    code, out, _ = headrace("list", "--json")
    document = json.loads(out)
    assert code == 0
    (plugin,) = [p for p in document["plugins"] if p["distribution"] == "headrace-shiny"]
    assert plugin["status"] == "ok"
    assert plugin["hooks"] == ["before_run", "headrace_stages"]
    assert {
        "kind": "enrich",
        "use": "shiny",
        "distribution": "headrace-shiny",
        "version": "1.2",
        "target": "shiny_stage:Shiny",
    } in document["stages"]
    assert "dataset" in {a["type_name"] for a in document["artifacts"]}


def test_list_says_that_something_is_broken(headrace, site):
    site.install("broken", plugins={"b": "broken_plugin"}, files={"broken_plugin.py": "1/0"})
    code, out, err = headrace("list")
    assert code == 0
    assert ["broken", "1.0", "broken", "-"] in [line.split() for line in out.splitlines()]
    assert "1 problem: see `headrace plugins doctor`" in err


def test_list_in_a_project_shows_what_it_disables(headrace, shiny, tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[project]\nname = "p"\n[plugins]\ndisabled = ["headrace-shiny"]\n[ingest]\nuse = "files"\npath = "x"\n'
    )
    _, out, _ = headrace("list")
    lines = [line.split() for line in out.splitlines()]
    assert ["headrace-shiny", "1.2", "disabled", "-"] in lines
    assert ["enrich", "shiny", "headrace-shiny", "1.2"] not in lines


def test_show(headrace, shiny):
    code, out, _ = headrace("show", "enrich:shiny")
    assert code == 0
    assert out.splitlines()[0] == "enrich:shiny  headrace-shiny 1.2"
    for expected in [
        "Makes a table shiny.",
        "And more.",
        "data (dataset), params (params, optional)",
        "outputs  data (dataset)",
        "never: it may give something else each time",
        "polish  integer >= 1  default 3",
        "target  string  as in [project]",
        "How often it is polished",
    ]:
        assert expected in out
    assert "\x1b" not in out


def test_show_as_json(headrace, shiny):
    code, out, _ = headrace("show", "enrich:shiny", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["inputs"] == [
        {"name": "data", "type": "dataset", "optional": False},
        {"name": "params", "type": "params", "optional": True},
    ]
    assert document["config"][0]["name"] == "polish"
    assert document["config"][0]["default"] == 3
    assert document["deterministic"] is False


def test_every_builtin_can_be_shown(headrace):
    _, out, _ = headrace("list", "--json")
    for stage in json.loads(out)["stages"]:
        code, shown, err = headrace("show", f"{stage['kind']}:{stage['use']}")
        assert (code, err) == (0, "")
        assert stage["target"] in shown


def test_show_by_name_alone(headrace, shiny):
    assert headrace("show", "champion")[0] == 0
    code, _, err = headrace("show", "shiny")
    assert code == 2
    assert "enrich:shiny, train:shiny" in err
    code, _, err = headrace("show", "chmapion")
    assert code == 2
    assert "'champion'" in err


def test_show_what_is_not_there(headrace):
    code, _, err = headrace("show", "train:lightbgm")
    assert code == 2
    assert "Did you mean 'lightgbm'?" in err


def test_show_a_stage_that_cannot_be_imported(headrace, shiny):
    (shiny.folder / "shiny_stage.py").write_text("import no_such_dependency")
    code, _, err = headrace("show", "enrich:shiny")
    assert code == 3
    assert "stage enrich:shiny of headrace-shiny 1.2" in err
    assert "'no_such_dependency' is not installed" in err
    assert "Traceback" not in err


def test_doctor_is_content_with_the_builtins(headrace):
    code, out, _ = headrace("doctor")
    assert code == 0, out
    code, out, _ = headrace("doctor", "--json")
    assert json.loads(out)["ok"] is True


def test_doctor_names_what_is_broken_and_whose_and_the_way_out(headrace, shiny):
    (shiny.folder / "shiny_stage.py").write_text(STAGE.replace(") -> Dataset", ")"))
    shiny.install("broken", "0.9", plugins={"b": "broken_plugin"}, files={"broken_plugin.py": "raise OSError('gone')"})
    code, out, _ = headrace("doctor")
    assert code == 3
    assert "error  broken, entry point b: OSError: gone" in out
    assert "error  headrace-shiny, stage enrich:shiny: it has no return annotation" in out
    assert "disabled" in out
    errors = [line for line in out.splitlines() if line.startswith("error")]
    assert sum("broken" in line or "shiny" in line for line in errors) == 3
    assert f"{len(errors)} errors" in out.splitlines()[-1]
    assert "Traceback" not in out


def test_doctor_shows_tracebacks_when_asked(headrace, site):
    site.install("broken", plugins={"b": "broken_plugin"}, files={"broken_plugin.py": "raise OSError('gone')"})
    _, out, _ = headrace("doctor", "--traceback")
    assert "Traceback (most recent call last)" in out
    assert "broken_plugin.py" in out


def test_doctor_as_json(headrace, site):
    site.install("broken", "0.9", plugins={"b": "broken_plugin"}, files={"broken_plugin.py": "import sys; sys.exit(0)"})
    code, out, _ = headrace("doctor", "--json")
    document = json.loads(out)
    assert code == 3
    assert document["ok"] is False
    (finding,) = [f for f in document["findings"] if f["distribution"] == "broken"]
    assert finding["level"] == "error"
    assert "end the process" in finding["message"]
    assert finding["hint"]
    assert "Traceback" in finding["traceback"]


def test_new(headrace, tmp_path):
    code, out, _ = headrace("new", "geo", "--dir", "my plugins")
    assert code == 0
    assert "my plugins/headrace-geo/src/headrace_geo/stage.py" in out
    assert "cd 'my plugins/headrace-geo'" in out
    assert (tmp_path / "my plugins" / "headrace-geo" / "pyproject.toml").exists()
    code, _, err = headrace("new", "headrace-geo", "--dir", "my plugins")
    assert code == 2
    assert "exists already" in err


def test_new_refuses_what_cannot_be(headrace, tmp_path):
    for arguments, says in [
        (("../evil",), "cannot be the name of a plugin"),
        (("lightgbm", "--kind", "train"), "train:lightgbm already, from headrace"),
        (("geo", "--kind", "gate"), "no template"),
    ]:
        code, _, err = headrace("new", *arguments)
        assert code == 2
        assert says in err
    assert list(tmp_path.iterdir()) == []
