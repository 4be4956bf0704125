"""Labels from files, and metrics over time: against a calculation by hand of the same rows."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from headrace.errors import DataError, NotFoundError, SpecError
from headrace.project import feedback
from headrace.project.feedback import take_file
from headrace.registry.names import parse
from headrace.serving.labels import Columns
from headrace.store import Store

PLAN = SimpleNamespace(task="binary", classes=["no", "yes"], class_names=["no", "yes"])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from headrace.compute.plan import feature_plan

    monkeypatch.setattr(feedback, "read_file", lambda _project, path: SimpleNamespace(frame=lambda: pl.read_csv(path)))
    monkeypatch.setattr(feature_plan.FeaturePlan, "from_document", lambda _document: PLAN)
    package = SimpleNamespace(read=lambda _name: b"{}")
    with Store.open(tmp_path / "store") as store:
        yield SimpleNamespace(
            store=store, existing_store=store, registry=SimpleNamespace(resolve=lambda _reference: package)
        )


def labels(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def segment(folder: Path, name: str, rows: list[tuple[str, int, dt.datetime, str, float]]) -> None:
    folder.mkdir(exist_ok=True)
    pl.DataFrame(
        {
            "request_id": [row[0] for row in rows],
            "row": pl.Series([row[1] for row in rows], dtype=pl.UInt32),
            "time": pl.Series([row[2] for row in rows], dtype=pl.Datetime("us", "UTC")),
            "model": ["m"] * len(rows),
            "version": [row[3] for row in rows],
            "outputs": [{"prediction": "x", "probability_no": 1 - row[4], "probability_yes": row[4]} for row in rows],
        }
    ).write_ipc(folder / name)


def test_ids_rows_corrections_and_what_is_empty(project: Any, tmp_path: Path) -> None:
    first = labels(tmp_path / "1.csv", "request_id,label\na,yes\na/2,no\nodd/name,yes\nb,\n")
    told = take_file(project, first, Columns())
    assert (told.labels, told.empty) == (3, 1)
    assert take_file(project, first, Columns()).labels is None
    take_file(project, labels(tmp_path / "2.csv", "request_id,label,at\na,no,1\n"), Columns())
    found = {(one.request_id, one.row): json.loads(one.label) for one in project.store.live.labels()}
    assert found == {("a", 0): "no", ("a", 2): "no", ("odd/name", 0): "yes"}


def test_times_decide_whatever_comes_first(project: Any, tmp_path: Path) -> None:
    late = labels(tmp_path / "1.csv", "id,label,at\na,yes,2024-02-01T00:00:00Z\n")
    early = labels(tmp_path / "2.csv", "id,label,at\na,no,2024-01-01T00:00:00\n")
    for path in (late, early):
        take_file(project, path, Columns("id", "label", None, "at"))
    (label,) = project.store.live.labels()
    assert (label.label, label.known) == ('"yes"', dt.datetime(2024, 2, 1, tzinfo=dt.UTC).timestamp())


def test_wrong_files_are_said_with_their_place(project: Any, tmp_path: Path) -> None:
    path = labels(tmp_path / "1.csv", "request_id,label,row,at\na,yes,-1,never\n")
    for columns, message in [
        (Columns(id="order"), "1.csv: there is no column 'order'; the file has 'request_id', 'label'"),
        (Columns(row="row"), "1.csv, row 0, column 'row': -1 is no number of a row"),
        (Columns(time="at"), "1.csv, row 0, column 'at': 'never' is no time"),
    ]:
        with pytest.raises(DataError) as caught:
            take_file(project, path, columns)
        assert message in str(caught.value)
    assert project.store.live.labels() == []


def test_metrics_by_version_and_day_count_each_row_once(project: Any, tmp_path: Path) -> None:
    day = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    log = tmp_path / "log"
    segment(log, "1.arrow", [("a", 0, day, "1", 0.2), ("a", 1, day, "1", 0.9), ("b", 0, day, "1", 0.9)])
    later = day + dt.timedelta(minutes=1)
    # `b` was asked again, and `c` on the next day by another version; `d` has no label.
    segment(log, "2.arrow", [("b", 0, later, "1", 0.1), ("c", 0, day + dt.timedelta(days=1), "2", 0.6)])
    segment(log, "3.arrow", [("d", 0, later, "1", 0.6)])
    take_file(project, labels(tmp_path / "l.csv", "request_id,label\na,no\na/1,no\nb,no\nc,yes\nz,no\n"), Columns())
    one, two = feedback.summary(project, log=log)
    assert (one.version, one.rows, one.labelled) == ("1", 4, 3)
    assert one.metrics["accuracy"] == pytest.approx(2 / 3)
    assert one.metrics["brier"] == pytest.approx((0.2**2 + 0.9**2 + 0.1**2) / 3)
    assert (two.version, two.rows, two.labelled, two.metrics["accuracy"]) == ("2", 1, 1, 1.0)
    assert two.start == dt.datetime(2024, 1, 2, tzinfo=dt.UTC)


def test_metrics_of_one_model_of_those_in_the_log(project: Any, tmp_path: Path) -> None:
    segment(tmp_path / "log", "1.arrow", [("a", 0, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "1", 0.2)])
    assert len(feedback.summary(project, log=tmp_path / "log", model="m")) == 1
    assert feedback.summary(project, log=tmp_path / "log", model="n") == []


def test_versions_that_nobody_has_do_not_take_the_others_along(project: Any, tmp_path: Path) -> None:
    """A file that was served beside the project's models, or a model that was deleted."""
    day, log = dt.datetime(2024, 1, 1, tzinfo=dt.UTC), tmp_path / "log"
    segment(log, "1.arrow", [("a", 0, day, "1", 0.2)])
    segment(log, "2.arrow", [("b", 0, day, "1", 0.2)])
    other = pl.read_ipc(io.BytesIO((log / "2.arrow").read_bytes())).with_columns(model=pl.lit("a file"))
    other.write_ipc(log / "2.arrow")
    take_file(project, labels(tmp_path / "l.csv", "request_id,label\na,no\nb,no\n"), Columns())
    known = project.registry.resolve

    def resolve(which: str) -> Any:
        if not which.startswith("m@"):
            parse(which)  # as the registry does
            raise NotFoundError(f"there is no model {which!r}")
        return known(which)

    project.registry.resolve = resolve
    found = {one.model: (one.labelled, one.metrics.get("accuracy")) for one in feedback.summary(project, log=log)}
    assert found == {"m": (1, 1.0), "a file": (1, None)}


def test_a_label_that_is_no_class_is_said(project: Any, tmp_path: Path) -> None:
    segment(tmp_path / "log", "1.arrow", [("a", 0, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "1", 0.2)])
    take_file(project, labels(tmp_path / "l.csv", "request_id,label\na,perhaps\n"), Columns())
    with pytest.raises(DataError, match="'perhaps' is no class of the model"):
        feedback.summary(project, log=tmp_path / "log")


def test_metrics_by_slice_of_what_was_logged(project: Any, tmp_path: Path) -> None:
    day = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    log = tmp_path / "log"
    segment(log, "1.arrow", [("a", 0, day, "1", 0.2), ("a", 1, day, "1", 0.9), ("b", 0, day, "1", 0.9)])
    path = log / "1.arrow"
    inputs = pl.Series("inputs", [{"shop": "n", "x": 1.0}, {"shop": "s", "x": 2.0}, {"shop": None, "x": 3.0}])
    frame = pl.read_ipc(io.BytesIO(path.read_bytes())).with_columns(inputs)
    frame.write_ipc(path)
    frame.write_ipc(log / "2.arrow")  # the same rows again count once
    take_file(
        project, labels(tmp_path / "1.csv", "request_id,row,label\na,0,no\na,1,no\nb,0,yes\n"), Columns(row="row")
    )
    found = feedback.summary(project, log=log, slices=["shop"])
    assert [(one.slice, one.rows, one.labelled) for one in found] == [
        (None, 3, 3),
        (("shop", "(none)"), 1, 1),
        (("shop", "n"), 1, 1),
        (("shop", "s"), 1, 1),
    ]
    assert [one.metrics["accuracy"] for one in found[1:]] == [1.0, 1.0, 0.0]
    assert feedback.as_document(found)["periods"][1]["slice"] == {"column": "shop", "value": "(none)"}
    with pytest.raises(SpecError, match="'shpo' is no column that the server logged"):
        feedback.summary(project, log=log, slices=["shpo"])


def test_rare_values_of_a_slice_are_counted_together(project: Any, tmp_path: Path) -> None:
    day = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    log = tmp_path / "log"
    segment(log, "1.arrow", [(f"r{n}", 0, day, "1", 0.2) for n in range(60)])
    values = [{"shop": f"s{min(n, 59 - n)}" if n < 40 else "big"} for n in range(60)]
    frame = pl.read_ipc(io.BytesIO((log / "1.arrow").read_bytes())).with_columns(pl.Series("inputs", values))
    frame.write_ipc(log / "1.arrow")
    found = feedback.summary(project, log=log, slices=["shop"])
    parts = [one for one in found if one.slice is not None]
    assert len(parts) == feedback.MOST_VALUES + 1
    assert sum(one.rows for one in parts) == 60
