"""What the server counts and logs: against `Window.update` of the same rows, and against what was sent and answered."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from headrace import Profile, Server, Window
from headrace import drift as drifts
from serving.served import TARGETS, ask, graph, package, records

if TYPE_CHECKING:
    from serving.served import Package


def watched(task: str, segments: str | None = None) -> tuple[Package, drifts.Reference, pl.DataFrame]:
    """A package with reference profiles, them, and rows."""
    made, predictor, data = package(task)
    reference = drifts.Reference.fit(predictor, data.head(200), data.tail(100), segments=segments)
    made.files.update(reference.files())
    return made, reference, data.drop(TARGETS[task])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_windows_are_what_update_counts_of_the_same_rows(task: str) -> None:
    made, reference, data = watched(task)
    sent = data.sample(120, seed=1)
    with Server(made, workers=2) as server:
        rows = records(sent)
        for start in range(0, 120, 7):
            assert ask(f"{server.url}/v1/models/shop:predict", {"instances": rows[start : start + 7]}).status == 200
        found = server.windows()
        assert server.windows() == []
    expected = reference.counted(sent)
    assert sum(window.rows for window in found) == 120
    for profile, side, counted in (
        (reference.inputs, "inputs", expected.inputs),
        (reference.scores, "scores", expected.scores),
    ):
        assert profile is not None
        assert summed(profile, [getattr(window, side) for window in found]) == counted
    assert {(window.model, window.version, window.seconds) for window in found} == {("shop", "3", 3600)}
    assert all(window.start % 3600 == 0 for window in found)


@pytest.mark.parametrize("column", ["shop", "ok", 'k "é\n'])
def test_windows_have_the_segments_of_the_package(column: str) -> None:
    made, reference, data = watched("binary", segments=column)
    sent = data.sample(60, seed=1)
    with Server(made, workers=2) as server:
        assert ask(f"{server.url}/v1/models/shop:predict", {"instances": records(sent)}).status == 200
        found = server.windows()
    profile = reference.inputs
    assert len(profile.segments) > 1
    total = summed(profile, [window.inputs for window in found])
    assert total == reference.counted(sent).inputs
    inside = profile.counts(total, segment=profile.segments[0]).filter(pl.col("column") == column)
    assert inside["live"].sum() == sent.filter(pl.col(column).cast(pl.String) == profile.segments[0]).height


def summed(profile: Profile, windows: list[bytes]) -> Window:
    total = profile.window()
    for data in windows:
        total = total + Window.from_bytes(data, profile)
    return total


def test_log_has_what_was_sent_and_answered(tmp_path: Path) -> None:
    made, reference, data = watched("binary")
    sent = data.sample(50, seed=2)
    answers = {}
    with Server(made, workers=2, log=tmp_path / "log") as server:
        for number, row in enumerate(records(sent)):
            reply = ask(
                f"{server.url}/invocations", {"dataframe_records": [row, row]}, headers={"X-Request-Id": f"r{number}"}
            )
            assert reply.headers["headrace-request-id"] == f"r{number}"
            answers[f"r{number}"] = reply.json["predictions"]
    log = pl.concat([pl.read_ipc(path) for path in sorted((tmp_path / "log").iterdir())])
    log = log.with_columns(pl.col("request_id").str.slice(1).cast(pl.Int64).alias("n")).sort("n", "row")
    assert log.select("row").to_series().to_list() == [0, 1] * 50
    assert log["model"].unique().to_list() == ["shop"]
    assert log["version"].unique().to_list() == ["3"]
    assert str(log.schema["time"]) == "Datetime(time_unit='us', time_zone='UTC')"
    for (identity, said), part in zip(answers.items(), log.partition_by("n", maintain_order=True), strict=True):
        assert part["outputs"].to_list() == said, identity
    inputs = log.filter(pl.col("row") == 0)["inputs"].struct.unnest()
    again = reference.inputs.window()
    again.update(inputs)
    once = reference.inputs.window()
    once.update(sent)
    assert again == once
    for name in ("x", "shop", "ok", "day", "at", "zoned", "took"):
        assert inputs[name].to_list() == sent[name].to_list(), name


def test_id_of_protocol_two_is_the_request_s(tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx")
    with Server(path, log=tmp_path / "log") as server:
        body = {
            "id": "mine",
            "inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}],
        }
        said = ask(f"{server.url}/v2/models/m/infer", body)
        assert said.headers["headrace-request-id"] == "mine"
        del body["id"]
        generated = [ask(f"{server.url}/v2/models/m/infer", body).headers["headrace-request-id"] for _ in range(3)]
        assert len(set(generated)) == 3
        odd = ask(f"{server.url}/v2/models/m/infer", body | {"id": "no\nheader"})
        assert odd.json["id"] == "no\nheader"
        assert odd.headers["headrace-request-id"].startswith(server.instance)
    log = pl.read_ipc(next((tmp_path / "log").iterdir()))
    assert log["request_id"].to_list()[:4] == ["mine", *generated]
    assert log["inputs"].struct.unnest().row(0) == (1.0, 2.0, 3.0, 4.0)


def test_tables_are_watched_as_rows_are(tmp_path: Path) -> None:
    made, reference, data = watched("regression")
    stream = io.BytesIO()
    data.write_ipc_stream(stream)
    with Server(made, workers=2, log=tmp_path / "log") as server:
        kind = "application/vnd.apache.arrow.stream"
        reply = ask(f"{server.url}/invocations", body=stream.getvalue(), headers={"Content-Type": kind})
        assert reply.status == 200, reply.body
        found = server.windows()
    assert summed(reference.inputs, [window.inputs for window in found]) == reference.counted(data).inputs
    log = pl.read_ipc(next((tmp_path / "log").iterdir()))
    assert log["row"].to_list() == list(range(data.height))
    assert log["inputs"].struct.unnest().select("x", "at", "price").equals(data.select("x", "at", "price"))
