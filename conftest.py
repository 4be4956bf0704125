"""For the tests of headrace and of every plugin: what CI promises to have must not be skipped there."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does than about us; budgets have tests of their own.
settings.register_profile("headrace", deadline=None)
settings.load_profile("headrace")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test marked `system` fails where HEADRACE_REQUIRE_SYSTEM=1."""
    report = yield
    required = os.environ.get("HEADRACE_REQUIRE_SYSTEM") == "1" and item.get_closest_marker("system") is not None
    if required and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"HEADRACE_REQUIRE_SYSTEM=1, and this test was skipped: {reason}"
    return report
