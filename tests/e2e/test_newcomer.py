"""A newcomer with a file of their own: `headrace init`, `headrace run`, `headrace predict`, without an edit.

Each table is one that somebody has: text, dates, gaps, ids, too few rows, too many columns, names that need quotes.
Where there is something to learn, the model must beat the predictor that knows no column.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from headrace.cli.main import cli

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Case:
    """A table, the column to predict, what `init` should find, and whether there is something to learn."""

    frame: pl.DataFrame
    target: str
    task: str
    split: str = "random"
    suffix: str = ".parquet"
    learns: bool = True
    ids: tuple[str, ...] = ()


def draws(rows: int, seed: int) -> tuple[random.Random, list[float], list[str], list[float]]:
    """Chance, a number, a word and a score that depends on both, for each row."""
    chance = random.Random(seed)
    number = [chance.gauss(0, 1) for _ in range(rows)]
    word = [chance.choice(["red", "green", "blue"]) for _ in range(rows)]
    score = [2 * x + 2 * (w == "red") - 1 + chance.gauss(0, 0.5) for x, w in zip(number, word, strict=True)]
    return chance, number, word, score


def holes(values: list, chance: random.Random, share: float = 0.1) -> list:
    return [None if chance.random() < share else value for value in values]


def shop() -> Case:
    """Text, booleans and numbers with gaps, ids, a constant column; the target is text. CSV."""
    chance, number, word, score = draws(600, 1)
    return Case(
        pl.DataFrame(
            {
                "order_id": range(1000, 1600),
                "email": [f"person{i}@example.org" for i in range(600)],
                "amount": holes(number, chance),
                "colour": holes(word, chance),
                "member": holes([chance.random() < 0.5 for _ in range(600)], chance),
                "country": ["NZ"] * 600,
                "fax": pl.Series([None] * 600, dtype=pl.String),
                "returned": ["yes" if s > 0 else "no" for s in score],
            }
        ),
        "returned",
        "binary",
        suffix=".csv",
        ids=("order_id", "email"),
    )


def species() -> Case:
    """Several classes, as categories; integers of all widths."""
    chance, number, word, score = draws(600, 2)
    labels = ["setosa" if s > 1 else "virginica" if s < -1 else "versicolor" for s in score]
    return Case(
        pl.DataFrame(
            {
                "petal": pl.Series(number, dtype=pl.Float32),
                "colour": pl.Series(word, dtype=pl.Categorical),
                "count": pl.Series([chance.randrange(200) for _ in range(600)], dtype=pl.UInt8),
                "kind": pl.Series(labels, dtype=pl.Enum(["setosa", "versicolor", "virginica"])),
            }
        ),
        "kind",
        "multiclass",
    )


def prices() -> Case:
    """A number to predict, some of them missing; a column with thousands of values. NDJSON."""
    chance, number, word, score = draws(800, 3)
    return Case(
        pl.DataFrame(
            {
                "size": number,
                "colour": word,
                "street": [f"street {chance.randrange(400)}" for _ in range(800)],
                "sold": [chance.random() < 0.3 for _ in range(800)],
                "price": holes([round(100 + 20 * s, 2) for s in score], chance, 0.05),
            }
        ),
        "price",
        "regression",
        suffix=".ndjson",
    )


def tiny() -> Case:
    """Twenty rows."""
    _, number, word, score = draws(20, 4)
    return Case(
        pl.DataFrame({"x": number, "colour": word, "y": [int(s > 0) for s in score]}), "y", "binary", learns=False
    )


def fraud() -> Case:
    """One row in fifty is positive."""
    chance, number, word, score = draws(3000, 5)
    rare = sorted(score)[-60]
    return Case(
        pl.DataFrame(
            {
                "x": number,
                "colour": word,
                "noise": [chance.random() for _ in score],
                "fraud": [s >= rare for s in score],
            }
        ),
        "fraud",
        "binary",
    )


def wide() -> Case:
    """Five thousand columns."""
    chance, number, word, score = draws(300, 6)
    columns = {f"gene {i}": [round(chance.random(), 3) for _ in range(300)] for i in range(4998)}
    return Case(
        pl.DataFrame({"x": number, "colour": word, **columns, "ill": [int(s > 0) for s in score]}), "ill", "binary"
    )


def odd_names() -> Case:
    """Names with quotes, line ends, emoji, dots, and some that look like patterns; labels likewise. Arrow IPC."""
    chance, number, word, score = draws(500, 7)
    return Case(
        pl.DataFrame(
            {
                'the "x"\n(first)': number,
                "🚀 colour": word,
                "a.b": [chance.random() for _ in score],
                "type:number": [chance.random() for _ in score],
                " ": [chance.random() for _ in score],
                "": [chance.choice("ab") for _ in score],
                "*": [chance.choice("ab") for _ in score],
                "^a.*$": [chance.choice("ab") for _ in score],
                "prediction": [chance.random() for _ in score],
                "quarantined_row": [chance.random() for _ in score],
                "back\\slash": [chance.choice("ab") for _ in score],
                'is it "so"?\r\n🎯': ['"yes"\n' if s > 0 else "ño 🙁" for s in score],
            }
        ),
        'is it "so"?\r\n🎯',
        "binary",
        suffix=".arrow",
    )


def unlabelled() -> Case:
    """A fifth of the rows has no label, so that whole numbers came as floats; empty and constant columns."""
    chance, number, word, score = draws(800, 8)
    return Case(
        pl.DataFrame(
            {
                "x": number,
                "colour": word,
                "nothing": pl.Series([None] * 800, dtype=pl.Null),
                "no text": pl.Series([None] * 800, dtype=pl.String),
                "no number": pl.Series([None] * 800, dtype=pl.Float64),
                "same": [1.5] * 800,
                "label": holes([float(s > 0) for s in score], chance, 0.2),
            }
        ),
        "label",
        "binary",
    )


def sensors() -> Case:
    """Zoned times in every row, and other dates with gaps."""
    chance, number, word, score = draws(900, 9)
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    return Case(
        pl.DataFrame(
            {
                "measured_at": pl.Series([begin + dt.timedelta(hours=3 * i) for i in range(900)]).dt.convert_time_zone(
                    "Pacific/Auckland"
                ),
                "installed": holes(
                    [dt.date(2020, 1, 1) + dt.timedelta(days=chance.randrange(900)) for _ in score], chance
                ),
                "running": [dt.timedelta(minutes=chance.randrange(600)) for _ in score],
                "x": number,
                "colour": word,
                "broken": [s > 0 for s in score],
            }
        ),
        "broken",
        "binary",
        split="time",
    )


def patients() -> Case:
    """Several rows about each of many patients, dates of birth, decimals, lists. The target is a count."""
    chance, number, word, score = draws(900, 10)
    return Case(
        pl.DataFrame(
            {
                "patient_id": [f"P{i // 3:04d}" for i in range(900)],
                "born": [dt.date(1950, 1, 1) + dt.timedelta(days=chance.randrange(20000)) for _ in score],
                "dose": pl.Series([round(x, 2) for x in number]).cast(pl.Decimal(10, 2)),
                "colour": word,
                "codes": [[1, 2]] * 900,
                "visits": [max(0, round(20 + 6 * s)) for s in score],
            }
        ),
        "visits",
        "regression",
        split="group",
        ids=("patient_id",),
    )


def wine() -> Case:
    """Whole numbers that are labels, semicolons between the fields."""
    chance, number, word, score = draws(700, 11)
    return Case(
        pl.DataFrame(
            {
                "acid": number,
                "colour": word,
                "sweet": [chance.choice(["true", "false"]) for _ in score],
                "quality": [min(5, max(3, round(4 + s / 2))) for s in score],
            }
        ),
        "quality",
        "multiclass",
        suffix=".tsv",
    )


def journal() -> Case:
    """Dates in CSV, seen in order; the label is missing at the end, where it has not ripened."""
    _, number, word, score = draws(700, 12)
    return Case(
        pl.DataFrame(
            {
                "day": [dt.date(2023, 1, 1) + dt.timedelta(days=i // 2) for i in range(700)],
                "x": number,
                "colour": word,
                "paid": [None if i > 650 else s > 0 for i, s in enumerate(score)],
            }
        ),
        "paid",
        "binary",
        split="time",
        suffix=".csv",
    )


def noise() -> Case:
    """Nothing to learn: the run succeeds, and nothing becomes champion."""
    chance = random.Random(13)
    return Case(
        pl.DataFrame({"x": [chance.random() for _ in range(400)], "y": [chance.randrange(2) for _ in range(400)]}),
        "y",
        "binary",
        learns=False,
    )


CASES: list[Callable[[], Case]] = [
    shop, species, prices, tiny, fraud, wide, odd_names, unlabelled, sensors, patients, wine, journal, noise,
]  # fmt: skip
WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".csv": lambda frame, path: frame.write_csv(path),
    ".tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    ".ndjson": lambda frame, path: frame.write_ndjson(path),
    ".arrow": lambda frame, path: frame.write_ipc(path),
}


def call(*args: object) -> str:
    done = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_file_of_their_own(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    data = tmp_path / f"data{case.suffix}"
    WRITERS[case.suffix](case.frame, data)
    project = tmp_path / "my project"

    made = json.loads(call("init", project, "--data", data, "--target", case.target, "--json"))
    assert (made["task"], made["split"]["use"]) == (case.task, case.split)
    assert made["id_columns"] == list(case.ids)
    assert made["unlabelled"] == case.frame[case.target].null_count()

    run = json.loads(call("run", "--project", project, "--json", "--quiet"))
    assert {stage["outcome"] for stage in run["stages"]} == {"executed"}
    evaluation, number = run["evaluation"], run["version"]["number"]
    primary = evaluation["metrics"][evaluation["primary"]]
    assert primary["better"] == "lower"
    if case.learns:
        assert primary["high"] < evaluation["baseline"][evaluation["primary"]]["value"]
        assert run["gate"]["passed"], run["gate"]
        assert run["version"]["aliases"] == ["champion"]

    again = json.loads(call("run", "--project", project, "--json", "--quiet"))
    assert {stage["outcome"] for stage in again["stages"]} == {"cached"}

    # What is to be predicted comes without the answer.
    new = tmp_path / f"new{case.suffix}"
    WRITERS[case.suffix](case.frame.drop(case.target).head(50), new)
    out = tmp_path / "predictions.parquet"
    call("predict", f"{made['name']}@{number}", new, "-o", out, "--project", project)
    predicted = pl.read_parquet(out)
    assert predicted.height == min(50, case.frame.height)
    assert predicted["prediction"].null_count() == 0
    if case.task != "regression":
        known = case.frame[case.target].drop_nulls()
        assert set(predicted["prediction"].cast(pl.String)) <= set(known.cast(pl.String))
        shares = predicted.select(pl.sum_horizontal(pl.selectors.starts_with("probability_")))
        assert shares.to_series().is_between(0.999, 1.001).all()


def test_noise_makes_no_champion(tmp_path: Path) -> None:
    case = noise()
    case.frame.write_parquet(tmp_path / "d.parquet")
    call("init", tmp_path / "p", "--data", tmp_path / "d.parquet", "--target", case.target)
    run = json.loads(call("run", "--project", tmp_path / "p", "--json", "-q"))
    assert run["gate"]["passed"] is False
    assert run["version"]["aliases"] == ["challenger"]
