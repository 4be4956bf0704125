"""Artifacts: identity, parts, what is refused, what damage does."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import Dataset
from headrace.compute.hashing import frame_digest
from headrace.errors import ArtifactError, CorruptObjectError, NotFoundError
from headrace.store import Store
from headrace.store.parts import INLINE_BYTES, PartWriter
from headrace.types import ArtifactRef, Evaluation, Model, Params, Report


class Parts:
    """An artifact of whatever parts a test wants."""

    type_name: ClassVar[str] = "parts"

    def __init__(self, *calls: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
        self.calls = calls

    def save(self, to: Any) -> None:
        for method, arguments, options in self.calls:
            getattr(to, method)(*arguments, **options)

    @classmethod
    def load(cls, source: Any) -> Any:
        return source


def of_json(value: Any, name: str = "document") -> Parts:
    return Parts(("json", (name, value), {}))


def of_bytes(data: Any, part_format: str = "binary", name: str = "data") -> Parts:
    return Parts(("bytes", (name, data), {"format": part_format}))


def model(onnx: bytes = b"\x08\x0aonnx") -> Model:
    return Model(
        task="binary",
        target="late",
        features=("a", "b"),
        classes=(0, 1),
        onnx=onnx,
        native=b"tree\nversion=v4\n",
        parity={"largest": 0.0},
        importance={"a": 0.75},
    )


def test_every_plain_artifact_comes_back(store: Store) -> None:
    evaluation = Evaluation(
        task="binary",
        primary="auc",
        rows=10,
        level=0.95,
        metrics={"auc": {"value": 0.5, "low": 0.4, "high": 0.6, "better": "higher"}},
        baseline={},
        slices=[{"column": "a", "value": None, "rows": 3}],
    )
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"]})
    for artifact in (Params({"depth": 3}, {"trials": 5}), evaluation, model(), Report("t", "<p>")):
        ref = store.artifacts.save(artifact)
        assert store.artifacts.load(ref, type(artifact)) == artifact
        assert store.artifacts.load(ref.digest, type(artifact)) == artifact
        assert store.artifacts.verify(ref.digest)
        assert ref.type_name == artifact.type_name
    ref = store.artifacts.save(Dataset.from_frame(frame))
    assert store.artifacts.load(ref, Dataset).frame().equals(frame)


def test_an_artifact_is_there_after_the_store_was_closed(open_store: Callable[..., Store]) -> None:
    with open_store() as first:
        ref = first.artifacts.save(model())
        again = first.artifacts.save(model())
        assert again == ref
    second = open_store()
    assert second.artifacts.load(ref, Model) == model()
    info = second.artifacts.info(ref.digest)
    assert info.ref == ref
    assert info.collected is None
    assert set(info.parts) == {"about", "model.onnx", "model.lightgbm"}
    assert info.parts["model.onnx"].format == "onnx"
    assert not info.parts["model.onnx"].inline
    assert info.parts["about"].inline
    assert ref.size == sum(part.size for part in info.parts.values())


def test_dataset_outlives_the_store(open_store: Callable[..., Store]) -> None:
    with open_store() as first:
        ref = first.artifacts.save(Dataset.from_frame(pl.DataFrame({"a": [1, 2]})))
        dataset = first.artifacts.load(ref, Dataset)
    assert dataset.frame()["a"].to_list() == [1, 2]


def test_identity_is_content_and_type(store: Store) -> None:
    digests = [
        store.artifacts.save(artifact).digest
        for artifact in (
            of_json({"a": 1}),
            of_json({"a": 1.0}),
            of_json({"a": True}),
            of_json({"a": "1"}),
            of_json({"a": 1}, "other"),
            of_bytes(b'{"a":1}', name="document"),
            of_bytes(b'{"a":1}', "text", name="document"),
            Parts(("json", ("ab", "c"), {}), ("json", ("d", "e"), {})),
            Parts(("json", ("a", "bc"), {}), ("json", ("d", "e"), {})),
            Parts(),
            Params({}),
            Parts(("frame", ("frame", pl.DataFrame({"a": [1]})), {})),
            Parts(("frame", ("frame", pl.DataFrame({"a": [1.0]})), {})),
        )
    ]
    assert len(set(digests)) == len(digests)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)


def test_order_of_keys_and_parts_does_not_matter(store: Store) -> None:
    first = Parts(("json", ("a", {"x": 1, "y": 2}), {}), ("json", ("b", 1), {}))
    second = Parts(("json", ("b", 1), {}), ("json", ("a", MappingProxyType({"y": 2, "x": 1})), {}))
    assert store.artifacts.save(first) == store.artifacts.save(second)


def framed(*texts: str) -> bytes:
    return b"".join(len(text.encode()).to_bytes(8, "big") + text.encode() for text in texts)


# If one of these changes, every store and every cache there is becomes invalid.
def test_digests_are_as_written_down(store: Store) -> None:
    document = hashlib.sha256(b'{"study":{},"values":{"depth":3}}').hexdigest()
    body = b"headrace/artifact/1" + framed("params", "document", "json", document)
    assert store.artifacts.save(Params({"depth": 3})).digest == hashlib.sha256(body).hexdigest()
    frame = pl.DataFrame({"a": [1, None]})
    about = hashlib.sha256(b'{"columns":[["a","Int64"]],"num_rows":2}').hexdigest()
    body = b"headrace/artifact/1" + framed("dataset", "about", "json", about, "frame", "frame", frame_digest(frame))
    assert store.artifacts.save(Dataset.from_frame(frame)).digest == hashlib.sha256(body).hexdigest()
    assert store.artifacts.save(Params({"depth": 3})).digest == (
        "dfba61b24cfc0feb4c101265363d34ba55a97abbf1b4bb202cb26c9cb0d06cc1"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_kept_or_refused_whole(value: Any) -> None:
    writer = PartWriter("test")
    try:
        writer.json("value", value)
    except ArtifactError:
        with pytest.raises(UnicodeEncodeError):  # lone surrogates are the only thing that may be refused here
            json.dumps(value, ensure_ascii=False).encode()
        return
    data = writer.parts["value"].data
    assert data is not None
    assert json.loads(data) == value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1: 2}, {"a": {None: 1}}, [{"a": {2: 1}}], {"a": object}, b"x", {1, 2}, "\ud800"],
    ids=repr,
)
def test_what_is_not_json_is_refused(store: Store, value: Any) -> None:
    with pytest.raises(ArtifactError, match="not JSON") as caught:
        store.artifacts.save(of_json(value))
    assert "document" in str(caught.value.place)
    assert caught.value.hint


@pytest.mark.parametrize(
    "name", ["", "A", "a/b", "../a", "a.b.c", ".a", "a.", "a b", "a\n", "é", "a-b", "a" * 5 + "\x00"]
)
def test_names_of_parts(store: Store, name: str) -> None:
    with pytest.raises(ArtifactError, match="not a name"):
        store.artifacts.save(of_json(1, name))


def test_a_part_is_written_once(store: Store) -> None:
    with pytest.raises(ArtifactError, match="already"):
        store.artifacts.save(Parts(("json", ("a", 1), {}), ("bytes", ("a", b""), {"format": "text"})))


class Canary:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("canary",))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("part_format", ["onnx", "lightgbm", "html", "svg", "text", "binary"])
def test_pickles_are_refused_in_every_format(store: Store, protocol: int, part_format: str) -> None:
    with pytest.raises(ArtifactError, match="pickle"):
        store.artifacts.save(of_bytes(pickle.dumps(Canary(), protocol), part_format))


@pytest.mark.parametrize("data", [b"PK\x03\x04rest", b"\x78\x9crest"])
def test_archives_are_refused(store: Store, data: bytes) -> None:
    with pytest.raises(ArtifactError, match="archive"):
        store.artifacts.save(of_bytes(data))


@pytest.mark.parametrize("part_format", ["pickle", "", "json", "parquet", "../x"])
def test_formats_are_a_closed_list(store: Store, part_format: str) -> None:
    with pytest.raises(ArtifactError, match="not a format"):
        store.artifacts.save(of_bytes(b"x", part_format))


def test_bytes_must_be_bytes(store: Store) -> None:
    with pytest.raises(ArtifactError, match="not bytes"):
        store.artifacts.save(of_bytes("text"))
    assert store.artifacts.load(store.artifacts.save(of_bytes(bytearray(b"x"))), Parts).bytes("data") == b"x"


def test_what_is_no_artifact_is_refused(store: Store) -> None:
    with pytest.raises(ArtifactError, match="int is not an artifact"):
        store.artifacts.save(5)  # type: ignore[arg-type]


def test_type_is_checked_on_loading(store: Store) -> None:
    ref = store.artifacts.save(Params({}))
    with pytest.raises(ArtifactError, match="is a params, and was read as a model"):
        store.artifacts.load(ref, Model)


def test_reading_a_part_as_something_else(store: Store) -> None:
    parts = store.artifacts.load(store.artifacts.save(of_json(1)), Parts)
    assert parts.has("document")
    assert not parts.has("data")
    for wrong in (parts.bytes, parts.frame, parts.files):
        with pytest.raises(ArtifactError, match="read as something else"):
            wrong("document")
    with pytest.raises(ArtifactError, match="no part 'data'"):
        parts.bytes("data")


def test_unknown_digest(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.artifacts.load("0" * 64, Params)
    with pytest.raises(NotFoundError):
        store.artifacts.info("0" * 64)
    assert not store.artifacts.verify("0" * 64)
    for call in (store.artifacts.verify, store.artifacts.info):
        with pytest.raises(ArtifactError, match="not a digest"):
            call("../../etc/passwd")


def test_references_are_kept_as_references(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    dataset = Dataset.by_reference([path], format="csv")
    ref = store.artifacts.save(dataset)
    assert not list(store.objects.names())
    again = store.artifacts.load(ref, Dataset)
    assert again.reference is not None
    assert again.frame().rows() == [(1, 2)]
    path.write_text("a,b\n1,3\n")
    assert store.artifacts.save(Dataset.by_reference([path], format="csv")) != ref
    with pytest.raises(ArtifactError, match="changed"):
        store.artifacts.load(ref, Dataset).frame()
    path.unlink()
    with pytest.raises(ArtifactError, match="gone"):
        store.artifacts.load(ref, Dataset).frame()


@pytest.mark.parametrize(("length", "inline"), [(INLINE_BYTES - 3, True), (INLINE_BYTES - 2, False)])
def test_small_json_needs_no_file(store: Store, length: int, inline: bool) -> None:
    ref = store.artifacts.save(of_json("x" * length))  # and two quotes
    assert store.artifacts.info(ref.digest).parts["document"].inline is inline
    assert len(list(store.objects.names())) == (0 if inline else 1)
    assert store.artifacts.load(ref, Parts).json("document") == "x" * length


# --- damage -------------------------------------------------------------------------------------------------------


def big_part(store: Store, ref: ArtifactRef) -> str:
    return next(part.sha256 for part in store.artifacts.info(ref.digest).parts.values() if not part.inline)


@pytest.mark.parametrize("how", ["flip", "delete"])
def test_damaged_artifact_is_noticed_and_made_again(
    open_store: Callable[..., Store],
    how: str,
    damage: Callable[[Store, str], None],
    object_file: Callable[[Store, str], Path],
) -> None:
    frame = pl.DataFrame({"a": list(range(1000))})
    with open_store() as store:
        ref = store.artifacts.save(Dataset.from_frame(frame))
        sha256 = big_part(store, ref)
    with open_store() as store:
        if how == "flip":
            damage(store, sha256)
        else:
            object_file(store, sha256).unlink()
        with pytest.raises(CorruptObjectError if how == "flip" else NotFoundError) as caught:
            store.artifacts.load(ref, Dataset).frame()
        assert caught.value.hint
        assert not store.artifacts.verify(ref.digest)
        assert store.artifacts.save(Dataset.from_frame(frame)) == ref
        assert store.artifacts.verify(ref.digest)
    with open_store() as store:
        assert store.artifacts.verify(ref.digest)
        assert store.artifacts.load(ref, Dataset).frame().equals(frame)


def test_same_frame_written_otherwise_keeps_the_first_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"a": list(range(1000))})
    ref = store.artifacts.save(Dataset.from_frame(frame))
    store.artifacts.flush()
    before = store.artifacts.info(ref.digest)
    real = pl.DataFrame.write_parquet
    monkeypatch.setattr(pl.DataFrame, "write_parquet", lambda self, path, **_: real(self, path, compression="snappy"))
    assert store.artifacts.save(Dataset.from_frame(frame)) == ref
    assert store.artifacts.info(ref.digest).parts == before.parts


def test_damaged_row_is_noticed(root: Path) -> None:
    with Store.open(root) as store:
        ref = store.artifacts.save(Params({"depth": 3}))
    with sqlite3.connect(root / "headrace.db") as connection:
        connection.execute("UPDATE parts SET inline = ?", (b'{"study":{},"values":{"depth":4}}',))
    connection.close()
    with Store.open(root) as store:
        assert not store.artifacts.verify(ref.digest)
        with pytest.raises(ArtifactError, match="damaged in the database"):
            store.artifacts.load(ref, Params)
        assert store.artifacts.save(Params({"depth": 3})) == ref
        assert store.artifacts.verify(ref.digest)


# --- the accelerator ----------------------------------------------------------------------------------------------


def age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten seconds pass, by the clock that stamps are compared with."""
    from headrace.store import objects

    later = objects.time.time_ns() + 10_000_000_000
    monkeypatch.setattr(objects.time, "time_ns", lambda: later)


def test_verified_file_is_not_read_again_until_it_is_touched(
    store: Store, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Store, str], None]
) -> None:
    ref = store.artifacts.save(Dataset.from_frame(pl.DataFrame({"a": list(range(1000))})))
    store.artifacts.flush()
    reads: list[Path] = []
    real = store.objects._hash

    def counted(path: Path) -> str:
        reads.append(path)
        return real(path)

    monkeypatch.setattr(store.objects, "_hash", counted)
    assert store.artifacts.verify(ref.digest)
    assert store.artifacts.verify(ref.digest)
    assert len(reads) == 2, "a file younger than two seconds is never taken on trust"
    age(monkeypatch)
    assert store.artifacts.verify(ref.digest)
    assert len(reads) == 3
    assert store.artifacts.verify(ref.digest)
    assert len(reads) == 3
    damage(store, big_part(store, ref))
    assert not store.artifacts.verify(ref.digest)
    assert len(reads) == 4


def test_flipped_byte_with_old_times_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, object_file: Callable[[Store, str], Path]
) -> None:
    """Whoever puts mtime back cannot put ctime back."""
    ref = store.artifacts.save(Dataset.from_frame(pl.DataFrame({"a": list(range(1000))})))
    store.artifacts.flush()
    age(monkeypatch)
    assert store.artifacts.verify(ref.digest)
    path = object_file(store, big_part(store, ref))
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.chmod(0o644)
    while path.stat().st_ctime_ns == before.st_ctime_ns or path.read_bytes() != data:
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert not store.artifacts.verify(ref.digest)


# --- many at once -------------------------------------------------------------------------------------------------


def test_threads_save_the_same_and_different_artifacts(open_store: Callable[..., Store]) -> None:
    store = open_store()
    refs: list[ArtifactRef] = []
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for i in range(20):
                refs.append(store.artifacts.save(Params({"n": (i + seed) % 25})))
                if i % 7 == 0:
                    store.artifacts.flush()
        except BaseException as error:  # noqa: BLE001  # shown below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(set(refs)) == 25
    store.close()
    with open_store() as again:
        assert all(again.artifacts.verify(ref.digest) for ref in refs)


def test_large_drafts_are_written_soon(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.store.artifacts._DRAFT_BYTES", 1000)
    ref = store.artifacts.save(of_bytes(b"x" * 2000))
    assert not store.artifacts.drafts_of([ref])
    assert store.artifacts.verify(ref.digest)
