"""A project whose features need Python: cached by its source, run in a worker, judged against such a champion."""

from __future__ import annotations

import json
import sys

import polars as pl
import pytest

import headrace
from headrace.errors import DataError

CODE = '''
from pydantic import BaseModel, ConfigDict, Field

class Sum:
    """The sum of two columns."""

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        a: str = Field(description="one")
        b: str = Field(description="other")

    def __init__(self, config):
        self.config = config

    @property
    def reads(self):
        return (self.config.a, self.config.b)

    def transform(self, frame):
        import polars as pl
        return frame.select((pl.col(self.config.a) + pl.col(self.config.b)).cast(pl.Float64).alias("sum"))
'''
SPEC = """
[project]
name = "sums"
target = "y"
task = "binary"

[ingest]
use = "files"
path = "data.csv"

[split]
use = "random"

[features]
use = "plan"

[[features.transforms]]
use = "sums_code:Sum"
config = { a = "a", b = "b" }

[train]
use = "lightgbm"
n_estimators = 5

[evaluate]
use = "holdout"
replicates = 100

[gate]
use = "champion"
replicates = 100

[register]
use = "package"
"""

pytestmark = [pytest.mark.e2e]


@pytest.fixture
def project(tmp_path, monkeypatch):
    rows = [(i % 17, i % 23, (i % 17 + i % 23) % 2) for i in range(600)]
    frame = pl.DataFrame(rows, schema=["a", "b", "y"], orient="row")
    frame.write_csv(tmp_path / "data.csv")
    (tmp_path / "sums_code.py").write_text(CODE)
    (tmp_path / "headrace.toml").write_text(SPEC)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("sums_code", None)


def outcomes(folder, **options):
    sys.modules.pop("sums_code", None)
    with headrace.Project(folder, **options) as project:
        run = project.run(jobs=1)
        run.raise_on_failure()
        return {record.stage.name: record.outcome for record in run.info.stages}


def test_the_cache_follows_the_source_of_a_transform(project):
    outcomes(project)
    assert set(outcomes(project).values()) == {"cached"}
    (project / "sums_code.py").write_text("# a comment\n" + CODE)
    assert set(outcomes(project).values()) == {"cached"}
    (project / "sums_code.py").write_text(CODE.replace("+ pl.col", "* pl.col"))
    again = outcomes(project)
    assert again["features"] == again["train"] == again["gate"] == "executed"  # the champion has the other source
    assert again["split"] == "cached"


def test_in_a_worker_process(project):
    text = SPEC.replace('use = "plan"', 'use = "plan"\nisolation = "process"')
    (project / "headrace.toml").write_text(text.replace('use = "holdout"', 'use = "holdout"\nisolation = "process"'))
    assert set(outcomes(project).values()) == {"executed"}


def test_it_predicts_from_raw_rows_and_says_what_it_needs(project):
    outcomes(project)
    with headrace.Project(project) as opened:
        predicted = opened.predict("sums", pl.DataFrame({"a": [1, None], "b": [2, 3]}))
        assert predicted.height == 2
        package = opened.registry.resolve("sums")
        (python,) = json.loads(package.read("signature.json"))["python"]
        assert python == {"use": "sums_code:Sum", "distribution": "project", "version": ""}
        assert "Python computes" in package.read("card.md").decode()
        assert opened.reproduce("sums").equal


def test_other_code_than_in_training_refuses_to_predict(project):
    outcomes(project)
    sys.modules.pop("sums_code", None)
    (project / "sums_code.py").write_text(CODE.replace("+ pl.col", "- pl.col"))
    with headrace.Project(project) as opened, pytest.raises(DataError, match="golden"):
        opened.predict("sums", pl.DataFrame({"a": [1], "b": [2]}))
