"""Servers that several tests ask."""

from __future__ import annotations

from pathlib import Path

import pytest

import headrace
from serving.served import TARGETS, graph, package


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return graph(tmp_path_factory.mktemp("graph") / "late.onnx")


@pytest.fixture(scope="module")
def plain(model):
    with headrace.Server(model, workers=2, max_rows=50, max_body_bytes=20_000) as server:
        yield server


@pytest.fixture(scope="module", params=sorted(TARGETS))
def served(request):
    made, predictor, data = package(request.param)
    with headrace.Server(made, workers=2) as server:
        yield server, predictor, data.drop(TARGETS[request.param])
