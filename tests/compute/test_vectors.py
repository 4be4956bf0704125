"""Published test vectors of the hashes, one by one, each with where it stands.

They go in at the public door, `murmur3_column`, `FeatureHasher` and the feature plan; the hash alone is held by the
same vectors in `rust/headrace-core/src/murmur.rs`.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from headrace import FeatureHasher, FeaturePlan
from headrace.compute.hashing import murmur3_column

SKLEARN = "scikit-learn, sklearn/utils/tests/test_murmurhash.py"
SKLEARN_DOC = "scikit-learn, sklearn/utils/murmurhash.pyx, its docstring"
ORT = "onnxruntime, onnxruntime/test/contrib_ops/murmur_hash3_test.cc"
SPARK = "Apache Spark, pull request 20568"
OURS = "computed with a plain reference that reproduces SMHasher's verification value"

MURMUR = [
    (b"", 0, 0, OURS),
    (b"", 1, 0x514E28B7, OURS),
    (b"", 0xFFFFFFFF, 0x81F16F39, OURS),
    (b"foo", 0, -156908512, SKLEARN),
    (b"foo", 0, 4138058784, ORT),
    (b"foo", 42, -1322301282, SKLEARN),
    (b"bar", 0, 1158584717, ORT),
    (b"Hello World!", 42, 3565178, SKLEARN_DOC),
    (b"test", 0, -1167338989, SPARK),
    ((3).to_bytes(4, "little"), 0, 847579505, SKLEARN),
    ((3).to_bytes(4, "little"), 42, -1823081949, SKLEARN),
    ((4).to_bytes(4, "little"), 0, 1889779975, ORT),
    (bytes.fromhex("21436587"), 0, 0xF55B516B, OURS),
    (bytes.fromhex("214365"), 0, 0x7E4A8634, OURS),
    (bytes.fromhex("2143"), 0, 0xA0F7B07A, OURS),
    (bytes.fromhex("21"), 0, 0x72661CF4, OURS),
    ("é".encode(), 0, 269551495, OURS),
    ("日本".encode(), 0, -992347838, OURS),
    (b"cat=a", 0, 125031837, OURS),
    (b"cat=flbvtm30", 0, -(2**31), OURS),
    (b"cat=atsgpk6w", 0, -(2**31), OURS),
    (b"cat=dloviw8l", 0, 2**31 - 1, OURS),
    (b"cat=sisydcd9", 0, -1, OURS),
    (b"cat=clxmebfa", 0, 0, OURS),
    (b"cat=kzaet6qo", 0, 1, OURS),
]


@pytest.mark.parametrize(("data", "seed", "expected", "source"), MURMUR)
def test_murmurhash3(data, seed, expected, source):
    expected = expected - 2**32 if expected >= 2**31 else expected
    assert murmur3_column(pa.array([data]), seed=seed).tolist() == [expected], source
    assert murmur3_column(pa.array([b"x", data, None], pa.binary_view()), seed=seed, null=7)[1:].tolist() == [
        expected,
        7,
    ]
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        assert murmur3_column(pa.array([text], kind), seed=seed).tolist() == [expected], source


def test_murmurhash3_verification_value():
    """SMHasher's check: the hashes of 0, 0 1, 0 1 2, ... under the seeds 256, 255, ..., hashed together."""
    hashes = [murmur3_column(pa.array([bytes(range(length))]), seed=256 - length)[0] for length in range(256)]
    together = np.array(hashes, dtype="<i4").tobytes()
    assert int(murmur3_column(pa.array([together]), seed=0)[0]) & 0xFFFFFFFF == 0xB0F57EE3


@pytest.mark.parametrize("value", ["flbvtm30", "atsgpk6w"])
@pytest.mark.parametrize(("n_features", "index"), [(10, 8), (1000, 648), (2**20, 0), (1000003, 477207)])
def test_the_least_hash(value, n_features, index):
    """What has no absolute value: scikit-learn, sklearn/feature_extraction/_hashing_fast.pyx."""
    for kind, data in (
        ("dict", [{"cat": value}]),
        ("pair", [[("cat", value)]]),
        ("dict", pl.DataFrame({"cat": [value]})),
    ):
        row = FeatureHasher(n_features, input_type=kind).transform(data)
        assert (row.indices.tolist(), row.data.tolist()) == ([index], [-1.0])
    row = FeatureHasher(n_features, input_type="string").transform([[f"cat={value}"]])
    assert (row.indices.tolist(), row.data.tolist()) == ([index], [-1.0])


@pytest.mark.parametrize(
    ("value", "sign", "index"), [("dloviw8l", 1, 647), ("sisydcd9", -1, 1), ("clxmebfa", 1, 0), ("kzaet6qo", 1, 1)]
)
def test_the_other_ends(value, sign, index):
    """The greatest hash, -1, 0 and 1."""
    row = FeatureHasher(1000).transform(pl.DataFrame({"cat": [value]}))
    assert (row.indices.tolist(), row.data.tolist()) == ([index], [sign])


def test_sklearns_docstring():
    """scikit-learn, FeatureHasher: the example of its docstring."""
    rows = [{"dog": 1, "cat": 2, "elephant": 4}, {"dog": 2, "run": 5}]
    expected = [[0, 0, -4, -1, 0, 0, 0, 0, 0, 2], [0, 0, 0, -2, -5, 0, 0, 0, 0, 0]]
    assert FeatureHasher(10).transform(rows).toarray().tolist() == expected
    frame = pl.DataFrame({"dog": [1, 2], "cat": [2, None], "elephant": [4, None], "run": [None, 5]})
    assert FeatureHasher(10).transform(frame).toarray().tolist() == expected


def test_the_empty_name_is_in_the_first_column():
    """The hash of nothing is 0."""
    for data in ([{"": 2.5}], pl.DataFrame({"": [2.5]})):
        row = FeatureHasher(1000).transform(data)
        assert (row.indices.tolist(), row.data.tolist()) == ([0], [2.5])


REAL = {"real": 2.0, "bool": True, "stringNum": "1", "string": "foo"}
SPARK_ROWS = [
    ({}, {174475: 2.0, 247670: 1.0, 262126: 1.0, 257907: 1.0}),
    ({"categorical": ["real"]}, {171257: 1.0, 247670: 1.0, 262126: 1.0, 257907: 1.0}),
]


@pytest.mark.parametrize(("options", "expected"), SPARK_ROWS)
def test_sparks_feature_hasher(options, expected):
    """Apache Spark 3, python/pyspark/ml/feature.py, FeatureHasher: the example of its docstring."""
    for data in ([REAL], pl.DataFrame([REAL]), pl.DataFrame([REAL]).to_arrow()):
        row = FeatureHasher(mode="spark", **options).transform(data)
        assert row.shape == (1, 2**18)
        assert dict(zip(row.indices.tolist(), row.data.tolist(), strict=True)) == expected


def test_sparks_hashing_tf():
    """Apache Spark 3, mllib HashingTFSuite, "indexOf method", and the docstring of pyspark's HashingTF."""
    hasher = FeatureHasher(100, mode="spark", input_type="string")
    found = {word: int(hasher.transform([[word]]).indices[0]) for word in "abcd"}
    assert found == {"a": 67, "b": 65, "c": 68, "d": 90}
    words = FeatureHasher(10, mode="spark", input_type="string").transform(pl.DataFrame({"words": [["a", "b", "c"]]}))
    assert words.indices.tolist() == [5, 7, 8]
    assert words.data.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("features", "n_features", "share"), [(47_928, 2**18, 0.167), (10**5, 2**18, 0.317), (10**5, 2**20, 0.091)]
)
def test_expected_collisions(features, n_features, share):
    """Share of features with a collision, 1 - exp(-K/m): Poisson's limit of Weinberger et al. (2009)."""
    report = FeatureHasher(n_features).collision_report(
        pl.DataFrame({"c": [str(number) for number in range(features)]})
    )
    assert report.features == features
    assert report.colliding / features == pytest.approx(share, abs=0.005)
    assert report.expected_occupied == pytest.approx(n_features * -np.expm1(-features / n_features), rel=1e-4)
    assert report.occupied == pytest.approx(report.expected_occupied, rel=0.005)


def test_the_vectors_in_a_plan():
    """A plan hashes as the hasher does: the least hash, the greatest one, minus one, zero and one."""
    values = ["flbvtm30", "atsgpk6w", "dloviw8l", "sisydcd9", "clxmebfa", "kzaet6qo", "a"]
    frame = pl.DataFrame({"cat": values * 2, "y": [True, False] * 7})
    for signed in (True, False):
        config = {"columns": {"cat": {"treat_as": "hash", "size": 1000, "signed": signed}}}
        plan = FeaturePlan.fit(frame, target="y", task="binary", config=config)
        expected = FeatureHasher(1000, alternate_sign=signed).transform(frame.select("cat")).toarray()
        np.testing.assert_array_equal(plan.matrix(frame), expected)
        assert plan.matrix(frame)[0, 648] == (-1 if signed else 1)
    config = {"columns": {"cat": {"treat_as": "bucket", "size": 1000}}}
    plan = FeaturePlan.fit(frame, target="y", task="binary", config=config)
    np.testing.assert_array_equal(
        plan.matrix(frame), FeatureHasher(1000, output="buckets").transform(frame.select("cat"))
    )
