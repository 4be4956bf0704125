"""Live windows and labels in the store: what is written twice counts once, and the order of delivery does not show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.store import Store
from headrace.store.live import KeptWindow, Label

EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c/1"]), st.integers(0, 1), st.integers(0, 5), st.integers(0, 3)), max_size=12
)


def window(rows: int, **more: object) -> KeptWindow:
    base: dict[str, object] = {"model": "m", "version": "1", "start": 3600, "seconds": 3600, "server": "s"}
    return KeptWindow(**{**base, "rows": rows, "inputs": bytes([rows]), "scores": b"", **more})  # type: ignore[arg-type]


def test_a_window_only_grows(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        for rows in (2, 5, 5, 3):
            store.live.keep([window(rows)])
        assert store.live.windows("m") == [window(5)]
        store.live.keep([window(1, server="t"), window(1, start=7200), window(4, model="other")])
        assert [(w.start, w.server) for w in store.live.windows("m")] == [(3600, "s"), (3600, "t"), (7200, "s")]
        assert [w.start for w in store.live.windows("m", since=7200)] == [7200]
        assert [w.start for w in store.live.windows("m", until=7200)] == [3600, 3600]
        assert store.fsck().ok


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, data=st.data())
def test_any_order_of_any_files_gives_the_same_labels(
    events: list[tuple[str, int, int, int]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The oracle: of each row the label with the greatest time, of equal ones the greatest text.
    expected: dict[tuple[str, int], tuple[float, str]] = {}
    for name, row, known, label in events:
        found = (float(known), json.dumps(label))
        expected[name, row] = max(found, expected.get((name, row), found))
    delivered = data.draw(st.permutations(events)) + data.draw(
        st.lists(st.sampled_from(events)) if events else st.just([])
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(delivered)), max_size=3)))
    with Store.open(tmp_path_factory.mktemp("store") / "s") as store:
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(delivered)], strict=True)):
            labels = [
                Label(name, row, json.dumps(label), float(known)) for name, row, known, label in delivered[start:end]
            ]
            assert store.live.tell(f"file {number}", labels) == len(labels)
            assert store.live.tell(f"file {number}", labels) is None
        found = {(one.request_id, one.row): (one.known, one.label) for one in store.live.labels()}
    assert found == expected


def test_without_times_the_later_one_counts_and_history_stays(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.live.tell("1", [Label("a", 0, "1"), Label("a", 0, "2"), Label("b", 0, "1")])
        store.live.tell("2", [Label("a", 0, "1")])
        assert {one.request_id: one.label for one in store.live.labels()} == {"a": "1", "b": "1"}
        assert [one.label for one in store.live.labels(history=True)] == ["1", "2", "1", "1"]


def test_merging_takes_labels_and_windows(tmp_path: Path) -> None:
    with Store.open(tmp_path / "there") as there:
        there.live.keep([window(2)])
        there.live.tell("1", [Label("a", 0, "1")])
    with Store.open(tmp_path / "here") as here:
        here.merge(tmp_path / "there")
        here.merge(tmp_path / "there")
        assert here.live.windows("m") == [window(2)]
        assert [one.label for one in here.live.labels()] == ["1"]
