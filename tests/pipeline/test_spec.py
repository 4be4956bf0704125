"""`headrace.toml`: what it may say, and where an error points."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import SpecError
from headrace.pipeline.locate import line_of
from headrace.pipeline.spec import load, parse, valid_name

TEXT = """\
# a comment with [brackets] and = signs
[project]
name = "demo"
target = "y"
seed = 7

[ingest]
use = "files"
path = "data.csv"

[train]
use = "lightgbm"
retries = 2
timeout = 60
num_leaves = 31

[train.params]
lambda_l1 = 0.5

[polish]
kind = "enrich"
use = "own:Polish"
inputs = { data = "ingest.data" }

[env.prod.train]
num_leaves = 127
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "headrace.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_spec(tmp_path: Path) -> None:
    spec = load(write(tmp_path, TEXT))
    assert (spec.name, spec.seed, spec.project_dir) == ("demo", 7, tmp_path)
    assert [(s.name, s.kind, s.use) for s in spec.stages] == [
        ("ingest", "ingest", "files"),
        ("train", "train", "lightgbm"),
        ("polish", "enrich", "own:Polish"),
    ]
    train = spec.stage("train")
    assert train.config == {"num_leaves": 31, "params": {"lambda_l1": 0.5}}
    assert (train.retries, train.timeout, train.isolation) == (2, 60.0, "process")
    assert spec.stage("polish").inputs == {"data": "ingest.data"}
    assert spec.shared == {"target": "y", "model": "demo"}


def test_overlay_then_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    assert load(path, env="prod").stage("train").config["num_leaves"] == 127
    spec = load(
        path,
        env="prod",
        overrides=["train.num_leaves=15", "train.params.lambda_l2=1.5", "ingest.path=x y.csv"],
    )
    assert spec.stage("train").config == {"num_leaves": 15, "params": {"lambda_l1": 0.5, "lambda_l2": 1.5}}
    assert spec.stage("ingest").config == {"path": "x y.csv"}
    assert load(path, overrides={"project.seed": 3}).seed == 3


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("target =", "traget =", "headrace.toml:4", ["no key 'traget'", "Did you mean 'target'"]),
        ("[ingest]", "[ingets]", "headrace.toml:7", ["'ingets'", "'ingest'"]),
        ('use = "files"\n', "", "headrace.toml:7", ["no `use`"]),
        ("retries = 2", "retries = -1", "headrace.toml:13", ["at least 0"]),
        ("retries = 2", "retries = true", "headrace.toml:13", ["type int"]),
        ("timeout = 60", "timeout = 0", "headrace.toml:14", ["above 0"]),
        ("timeout = 60", 'isolation = "docker"', "headrace.toml:14", ["thread", "process"]),
        ('name = "demo"', 'name = "../x"', "headrace.toml:3", ["not allowed"]),
        ('name = "demo"\n', "", "headrace.toml:2", ["no `name`"]),
        ("seed = 7", 'seed = "7"', "headrace.toml:5", ["type int"]),
        ('"ingest.data"', "3", "headrace.toml:23", ["STAGE.OUTPUT"]),
        ('kind = "enrich"\n', "", "headrace.toml:20", ["'polish'", 'kind = "polish"']),
        ("[project]", "[project", "headrace.toml", ["not valid TOML", "line 2"]),
    ],
)
def test_errors_point_at_the_line(tmp_path: Path, old: str, new: str, place: str, words: list[str]) -> None:
    assert old in TEXT
    with pytest.raises(SpecError) as caught:
        load(write(tmp_path, TEXT.replace(old, new, 1)))
    assert caught.value.place == place
    for word in words:
        assert word in str(caught.value)


OVERLAID = (
    TEXT
    + """retries = -2
[env.prod.project]
seed = "7"
[env.prod.second]
kind = "train"
[env.quiet]
ingest.path = "other.csv"
"""
)


@pytest.mark.parametrize(
    ("env", "overrides", "place", "words"),
    [
        (None, ["train.retries=-1"], "--set train.retries=-1", "at least 0"),
        (None, ["train.retries=3", "train.retries = -1"], "--set train.retries = -1", "at least 0"),
        (None, {"train.retries": -1}, "overrides['train.retries']", "at least 0"),
        (None, ["project.nmae=x"], "--set project.nmae=x", "no key 'nmae'"),
        (None, ["project.name=../x"], "--set project.name=../x", "not allowed"),
        (None, ["trian.num_leaves=3"], "--set trian.num_leaves=3", "'trian'"),
        (None, ['polish.inputs."da.ta"=3'], '--set polish.inputs."da.ta"=3', "inputs.da.ta"),
        ("prod", ["train.retries=1", "second.use=own:X"], "headrace.toml:29", "type int"),
        ("prod", ["project.seed=1"], "headrace.toml:27", "at least 0"),
        ("prod", ["train.retries=1"], "headrace.toml:30", "no `use`"),
        ("prod", ["project.seed=1", "second.use=own:X", "train.retries=-3"], "--set train.retries=-3", "at least 0"),
        ("quiet", ["train.timeout=0"], "--set train.timeout=0", "above 0"),
    ],
)
def test_errors_point_at_the_override_or_the_overlay(tmp_path: Path, env, overrides, place, words) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        load(write(tmp_path, OVERLAID), env=env, overrides=overrides)
    assert caught.value.place == place


def test_what_an_overlay_leaves_alone_is_where_it_was(tmp_path: Path) -> None:
    spec = load(write(tmp_path, OVERLAID), env="quiet", overrides=["train.num_leaves=3"])
    assert spec.place("ingest", "path") == "headrace.toml:33"
    assert spec.place("ingest", "use") == "headrace.toml:8"
    assert spec.place("ingest") == "headrace.toml:7"
    assert spec.place("train") == "headrace.toml:11"
    assert spec.place("train", "num_leaves") == "--set train.num_leaves=3"
    assert spec.place("train", "num_leaves", "0") == "--set train.num_leaves=3"
    assert spec.place("train", "params", "lambda_l1") == "headrace.toml:18"


def test_an_overlay_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text('[project]\nname = "a"\n')
    with pytest.raises(SpecError, match=r"no overlay \[env.prod\](.|\n)*write \[env.prod.STAGE\]"):
        load(tmp_path, env="prod")


def test_unknown_overlay_and_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    with pytest.raises(SpecError, match=r"no overlay \[env.prd\](.|\n)*prod"):
        load(path, env="prd")
    with pytest.raises(SpecError, match=r"STAGE\.KEY=VALUE"):
        load(path, overrides=["train"])
    with pytest.raises(SpecError, match=r"'trian'(.|\n)*train"):
        load(path, overrides=["trian.num_leaves=3"])


def test_no_spec_here(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="headrace init"):
        load(tmp_path)


def test_a_spec_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="UTF-8"):
        load(tmp_path)


def test_no_stages() -> None:
    with pytest.raises(SpecError, match="no stages"):
        parse({"project": {"name": "a"}}, path=Path("headrace.toml"))


def test_lines_of_quoted_and_nested_keys() -> None:
    text = 'x = """\n[not.a.table]\na = 1\n"""\n["we ird".b]\n"c\\nd" = 1\ne.f = 2\n'
    assert line_of(text, ["x"]) == 1
    assert line_of(text, ["not"]) is None
    assert line_of(text, ["we ird", "b", "c\nd"]) == 6
    assert line_of(text, ["we ird", "b", "e", "f"]) == 7
    assert line_of(text, ["we ird", "b", "zzz"]) == 5


@given(st.text(max_size=300), st.lists(st.text(max_size=5), max_size=3))
def test_locating_never_raises(text: str, keys: list[str]) -> None:
    line = line_of(text, keys)
    assert line is None or 1 <= line <= len(text.splitlines())


@given(st.text(max_size=12))
def test_valid_names_are_safe_as_file_names(name: str) -> None:
    if valid_name(name):
        assert name == Path(name).name
        assert name.isascii()
