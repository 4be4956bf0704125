"""The tuner's tests train many small models."""

from __future__ import annotations

import pytest


@pytest.fixture
def ctx(make_context):
    """On one thread: OpenMP's threads wait for each other by spinning, which a busy machine pays for."""
    return make_context(threads=1)
