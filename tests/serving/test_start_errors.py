"""What keeps `headrace serve` and `headrace.Server` from starting is said in a sentence, by both."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace
from headrace.errors import ConfigError, ModelFormatError, NotFoundError, ServingError
from headrace.serving import config
from serving.served import FLOAT, graph, value, write_onnx

USAGE, FAILED = 2, 3


def serve(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """The command's exit code, and what it said."""
    command = [sys.executable, "-m", "headrace.cli.main", "serve", *map(str, arguments)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, " ".join(done.stderr.split())


def external(path: Path, location: str, *, where: str = "initializer") -> Path:
    """A model whose weights are where `location` says."""
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    ends = [value("x", FLOAT, [None, 2])], [value("y", FLOAT, [None, 2])]
    add = helper.make_node("Add", ["x", "w"], ["y"])
    if where == "initializer":
        return write_onnx(path, [add], *ends, initializer=[tensor])
    if where == "sparse":
        sparse = helper.make_sparse_tensor(tensor, numpy_helper.from_array(np.arange(2)), [2])
        return write_onnx(path, [helper.make_node("Constant", [], ["w"], sparse_value=sparse), add], *ends)
    return write_onnx(path, [helper.make_node("Constant", [], ["w"], value=tensor), add], *ends)


def damage(path: Path, how: str) -> Path:
    whole = graph(path).read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "a byte short": whole[:-1],
            "text": b"not a model\n",
            "zip": b"PK\x03\x04" + bytes(100),
            "unknown operator": whole.replace(b"TreeEnsemble", b"TreeFnsemble"),
        }[how]
    )
    return path


@pytest.mark.parametrize("how", ["empty", "truncated", "a byte short", "text", "zip", "unknown operator"])
def test_a_wrong_or_truncated_onnx_file(tmp_path, how):
    path = damage(tmp_path / "m.onnx", how)
    with pytest.raises(ModelFormatError) as caught:
        headrace.Server(path)
    assert caught.value.place == str(path)
    assert caught.value.hint
    if how in ("truncated", "unknown operator"):
        code, said = serve(path, "--port", "0")
        assert code == FAILED
        assert said.startswith(f"error: {path}: ") or str(path) in said


def unfit() -> dict[str, tuple[list[object], list[object], list[object], str]]:
    node, half = helper.make_node, TensorProto.FLOAT16
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, None))
    maps = helper.make_value_info("y", helper.make_sequence_type_proto(kind))
    zipped = node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    x, y = value("x", FLOAT, [None, 2]), value("y", FLOAT, [None, 2])
    constant = node("Constant", [], ["y"], value_floats=[1.0])
    return {
        "ZipMap": ([zipped], [x], [maps], "zipmap"),
        "float16": (
            [node("Identity", ["x"], ["y"])],
            [value("x", half, ["n", 2])],
            [value("y", half, ["n", 2])],
            "Cast",
        ),
        "no inputs": ([constant], [], [value("y", FLOAT, [1])], "with an input"),
        "no rank": ([node("Identity", ["x"], ["y"])], [value("x", FLOAT, None)], [y], "Give it a shape"),
    }


@pytest.mark.parametrize("how", ["ZipMap", "float16", "no inputs", "no rank"])
def test_a_model_that_is_whole_and_cannot_be_served_is_told_the_way_out(tmp_path, how):
    nodes, inputs, outputs, hint = unfit()[how]
    with pytest.raises(ModelFormatError) as caught:
        headrace.Server(write_onnx(tmp_path / "m.onnx", nodes, inputs, outputs))
    assert hint in (caught.value.hint or "")
    assert "damaged" not in (caught.value.hint or "")


@pytest.mark.parametrize("option", ["deadline", "head_timeout", "body_timeout", "answer_timeout", "window"])
def test_a_time_in_which_nothing_can_be_done_is_refused_by_every_way_in(tmp_path, option):
    with pytest.raises(ServingError, match=f"{option} is 0 s, expected"):
        headrace.Server([], **{option: 0.0})
    path = tmp_path / "serve.toml"
    path.write_text(f"[server]\n{option} = 0.0\n")
    with pytest.raises(ConfigError, match=rf"serve.toml:2: server.{option}"):
        config.load(path)


@pytest.mark.parametrize("where", ["initializer", "constant", "sparse"])
@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../weights.bin", "a/../../weights.bin", "link.bin", "weights.bin"]
)
def test_external_data_is_not_read_wherever_it_is(tmp_path, monkeypatch, location, where):
    """Absolute, through `..`, through a link, and beside the model: what a model may read is what is in its file."""
    folder = tmp_path / "inside"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "weights.bin").write_bytes(bytes(8))
    (folder / "link.bin").symlink_to("/etc/passwd")
    monkeypatch.chdir(folder)
    path = external(folder / "m.onnx", location, where=where)
    with pytest.raises(ModelFormatError, match="keeps weights in another file") as caught:
        headrace.Server(path)
    assert caught.value.place == str(path)
    assert "with all of its data inside" in (caught.value.hint or "")


def test_external_data_is_refused_by_the_command(tmp_path):
    code, said = serve(external(tmp_path / "m.onnx", "/etc/passwd"), "--port", "0")
    assert code == FAILED
    assert "keeps weights in another file" in said
    assert "root:" not in said


def test_external_data_is_refused_for_a_server_that_runs(tmp_path):
    with headrace.Server(graph(tmp_path / "good.onnx"), workers=1) as server:
        with pytest.raises(ModelFormatError, match="keeps weights in another file"):
            server.swap(external(tmp_path / "m.onnx", "../weights.bin"), endpoint="good")
        assert server.routes == {"good": {"good@1": 1}}


def test_a_file_that_is_not_there_and_one_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFoundError, match=re.escape(str(tmp_path / "none.onnx"))):
        headrace.Server(tmp_path / "none.onnx")
    code, said = serve(tmp_path / "none.onnx", "--port", "0")
    assert code == NotFoundError.exit_code
    assert "none.onnx" in said
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ServingError, match="cannot be read"):
        headrace.Server(tmp_path / "folder.onnx")


def test_a_port_in_use(tmp_path):
    path = graph(tmp_path / "m.onnx")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match="somebody else listens there") as caught:
            headrace.Server(path, port=port)
        assert caught.value.place == f"127.0.0.1:{port}"
        code, said = serve(path, "--port", str(port))
    assert code == FAILED
    assert f"127.0.0.1:{port}" in said
    assert "somebody else listens there" in said
    assert "another port" in said


NONE = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "onnxruntime" else found(name, package)
"""


def test_onnxruntime_missing(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NONE)
    code, said = serve(graph(tmp_path / "m.onnx"), "--port", "0", PYTHONPATH=str(tmp_path))
    assert code == FAILED
    assert "the package onnxruntime is not installed" in said
    assert "pip install -U 'onnxruntime>=1.23'" in said


def test_onnxruntime_too_old(tmp_path):
    """A library that says that it is of 1.17, as a wheel would bring it."""
    fake = tmp_path / "onnxruntime" / "capi"
    fake.mkdir(parents=True)
    (fake.parent / "__init__.py").touch()
    source = tmp_path / "old.c"
    source.write_text(
        'static const char *version(void) { return "1.17.0"; }\n'
        "static const void *api(unsigned v) { (void)v; return 0; }\n"
        "struct base { const void *(*get)(unsigned); const char *(*version)(void); };\n"
        "static const struct base it = { api, version };\n"
        "const struct base *OrtGetApiBase(void) { return &it; }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", fake / "libonnxruntime.so.1.17.0", source], check=True)
    code, said = serve(graph(tmp_path / "m.onnx"), "--port", "0", PYTHONPATH=str(tmp_path))
    assert code == FAILED
    assert "ONNX Runtime cannot be used" in said
    assert "1.17.0" in said
    assert "pip install -U 'onnxruntime>=1.23'" in said


@pytest.mark.parametrize(
    ("option", "given"),
    [("--max-batch-delay", "-1"), ("--max-queue-time", "soon"), ("--max-bulk-rows", "0"), ("--max-bulk-bytes", "0")],
)
def test_a_wrong_option_of_the_command(tmp_path, option, given):
    code, said = serve(tmp_path / "m.onnx", option, given)
    assert code == USAGE
    assert option in said
