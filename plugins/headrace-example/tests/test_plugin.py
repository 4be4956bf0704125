import json
from datetime import date, datetime

import pytest

from headrace.testing import Refusal, hook_conformance, run_stage, stage_conformance
from headrace_example.holidays import Holidays

CONFIG = {"column": "day", "holidays": ["2025-07-04", "2025-12-25"]}
DAYS = [date(2025, 7, 1), date(2025, 7, 4), None, date(2025, 12, 26), date(2025, 10, 1)]
TABLE = {"day": DAYS, "visits": [3, 1, 4, 1, 5]}

TestHolidays = stage_conformance(
    "enrich",
    "holidays",
    config=CONFIG,
    inputs={"data": TABLE},
    refuses=[Refusal("dya", config={"column": "dya"}), Refusal("visits", config={"column": "visits"})],
)
TestHooks = hook_conformance("headrace-example")


def to_holiday(**change):
    outputs = run_stage(Holidays, config=CONFIG | change, inputs={"data": TABLE})
    return outputs["data"].frame()["day_to_holiday"].to_list()


def test_days_to_the_nearest_holiday():
    assert to_holiday() == [3, 0, None, 1, 30]
    assert to_holiday(at_most=2) == [2, 0, None, 1, 2]
    assert to_holiday(holidays=["2025-07-01"]) == [0, 3, None, 30, 30]


def test_the_time_of_day_does_not_matter():
    table = {"day": [datetime.fromisoformat("2025-12-24T23:59"), datetime.fromisoformat("2025-12-26T00:01")]}
    outputs = run_stage(Holidays, config=CONFIG, inputs={"data": table})
    assert outputs["data"].frame()["day_to_holiday"].to_list() == [1, 1]


class TestJournal(hook_conformance("headrace-example")):
    """The hooks again, with a journal to write to."""

    @pytest.fixture(autouse=True)
    def journal(self, tmp_path, monkeypatch):
        path = tmp_path / "journal.jsonl"
        monkeypatch.setenv("HEADRACE_JOURNAL", str(path))
        return path

    def test_a_line_for_each_run(self, journal):
        self.test_observes_a_run_that_succeeds()
        self.test_observes_a_run_that_fails()
        assert [json.loads(line)["status"] for line in journal.read_text().splitlines()] == ["succeeded", "failed"]
