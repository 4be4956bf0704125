"""The extension module. Only `headrace.compute` imports it; its functions are documented there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt

from headrace.types import SupportsArrowStream

__all__ = [
    "Detector",
    "FeatureCensus",
    "FeatureHasher",
    "Plan",
    "Profile",
    "TextVectorizer",
    "Window",
    "drift_compare",
    "drift_compare_counts",
    "drift_counts",
    "drift_ks_bounds",
    "drift_samples",
    "english_stop_words",
    "frame_digest",
    "murmur3_column",
    "plan_fingerprint",
    "text_unicode_version",
]

@final
class Detector:
    @staticmethod
    def adwin(
        semantics: str,
        delta: float,
        clock: int | None,
        max_buckets: int,
        min_window: int | None,
        grace_period: int | None,
    ) -> Detector: ...
    @staticmethod
    def page_hinkley(
        semantics: str,
        delta: float,
        threshold: float,
        forgetting: float | None,
        min_instances: int | None,
        direction: str,
    ) -> Detector: ...
    @staticmethod
    def cusum(
        target: float | None, scale: float | None, slack: float, threshold: float, warm_up: int, direction: str
    ) -> Detector: ...
    @staticmethod
    def ddm(semantics: str, warm_up: int, warning_threshold: float, drift_threshold: float) -> Detector: ...
    @staticmethod
    def kswin(semantics: str, alpha: float, window_size: int, stat_size: int, seed: int) -> Detector: ...
    @staticmethod
    def from_bytes(data: bytes) -> Detector: ...
    def fresh(self) -> Detector: ...
    def to_bytes(self) -> bytes: ...
    def update_one(self, value: float, skip: bool) -> npt.NDArray[np.int64]: ...
    def update(self, values: npt.NDArray[Any] | SupportsArrowStream, skip: bool) -> npt.NDArray[np.int64]: ...
    @property
    def seen(self) -> int: ...
    @property
    def found(self) -> int: ...
    @property
    def last(self) -> npt.NDArray[np.int64]: ...
    @property
    def estimation(self) -> float: ...
    @property
    def width(self) -> float: ...
    @property
    def window(self) -> tuple[float, int] | None: ...
    @property
    def warning(self) -> int | None: ...
    def options(self) -> tuple[str, dict[str, Any]]: ...

@final
class TextVectorizer:
    def __new__(
        cls,
        *,
        columns: int,
        analyzer: str,
        lowercase: bool,
        accents: str | None,
        ngrams: tuple[int, int],
        stop_words: list[str],
        signed: bool,
        binary: bool,
        norm: str | None,
        keep_marks: bool,
        decode_error: str,
        threads: int | None,
        single: bool,
    ) -> Self: ...
    def of_column(self, column: SupportsArrowStream) -> tuple[Any, Any, Any]: ...
    def of_documents(
        self, documents: Iterable[Any], encoding: tuple[str, str] | None, mend: Callable[[str], str] | None
    ) -> tuple[Any, Any, Any]: ...
    def of_tokens(self, rows: Iterable[Iterable[str | bytes]]) -> tuple[Any, Any, Any]: ...

def english_stop_words() -> list[str]: ...
def text_unicode_version() -> str: ...
def frame_digest(frame: SupportsArrowStream, *, threads: int | None = None) -> str: ...
def plan_fingerprint(document_json: str) -> str: ...

@final
class Plan:
    def __new__(cls, document_json: str) -> Self: ...
    @property
    def outputs(self) -> list[str]: ...
    @property
    def fingerprint(self) -> str: ...
    def matrix(
        self, frame: SupportsArrowStream, *, order: Literal["C", "F"] = "C", threads: int | None = None
    ) -> npt.NDArray[np.float32]: ...
    def sparse(
        self, frame: SupportsArrowStream, *, threads: int | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int32]]: ...
    def row(self, json: bytes) -> npt.NDArray[np.float32]: ...

def drift_compare(
    reference: Profile,
    live: Window,
    asked: dict[str, Any],
    *,
    segment: int | None = None,
    columns: list[str] | None = None,
    without: list[str] = [],  # noqa: B006  # as it is shown
) -> list[dict[str, Any]]: ...
def drift_compare_counts(columns: list[dict[str, Any]], asked: dict[str, Any]) -> list[dict[str, Any]]: ...
def drift_counts(
    statistic: str,
    reference: npt.NDArray[np.uint64],
    live: npt.NDArray[np.uint64],
    *,
    least_expected: float = 5.0,
    base: float = 2.0,
) -> tuple[float, float | None, float | None]: ...
def drift_ks_bounds(statistic: float, n: int, m: int) -> tuple[float, float, float]: ...
def drift_samples(
    statistic: str,
    reference: npt.NDArray[np.float64],
    live: npt.NDArray[np.float64],
    *,
    method: str = "auto",
    threads: int = 1,
) -> tuple[float, float | None, bool]: ...
@final
class Profile:
    @staticmethod
    def fit(
        source: SupportsArrowStream | Callable[[], SupportsArrowStream],
        *,
        columns: Sequence[str] | None,
        families: Mapping[str, str],
        weight: str | None,
        segments: str | None,
        pairs: Sequence[tuple[str, str]],
        threads: int | None,
    ) -> Profile: ...
    @staticmethod
    def from_bytes(data: bytes) -> Profile: ...
    def to_bytes(self) -> bytes: ...
    def window(self) -> Window: ...
    def as_window(self) -> Window: ...
    @property
    def rows(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def weight(self) -> str | None: ...
    @property
    def segments(self) -> tuple[str, list[str]] | None: ...
    def columns(self) -> list[tuple[str, str, float, float]]: ...
    def binned(self, window: Window, segment: int | None = None) -> list[dict[str, Any]]: ...

@final
class Window:
    @staticmethod
    def from_bytes(data: bytes, reference: Profile) -> Window: ...
    def to_bytes(self) -> bytes: ...
    @property
    def rows(self) -> int: ...
    def update(self, frame: SupportsArrowStream, *, ignore_new: bool, threads: int | None) -> None: ...
    def __add__(self, value: Window, /) -> Window: ...
    def __sub__(self, value: Window, /) -> Window: ...

@final
class FeatureHasher:
    def __new__(
        cls,
        *,
        columns: int,
        mode: str,
        key: bytes | None,
        signed: bool,
        categorical: list[str],
        threads: int | None,
    ) -> Self: ...
    def sparse(self, frame: SupportsArrowStream, *, tokens: bool, single: bool) -> tuple[Any, Any, Any]: ...
    def entries(self, frame: SupportsArrowStream, *, tokens: bool) -> tuple[Any, Any, Any]: ...
    def dense(self, frame: SupportsArrowStream, *, tokens: bool) -> Any: ...
    def buckets(self, frame: SupportsArrowStream) -> Any: ...
    def named(self, samples: Iterable[Any], *, pairs: bool, single: bool, merge: bool) -> tuple[Any, Any, Any]: ...
    def tokens(self, samples: Iterable[Any], *, single: bool, merge: bool) -> tuple[Any, Any, Any]: ...
    def census(self, frame: SupportsArrowStream, *, tokens: bool) -> FeatureCensus: ...

@final
class FeatureCensus:
    def load(self) -> tuple[int, int, int, int, int, int, int]: ...
    def suggested(self, share: float) -> int | None: ...
    def worst(
        self, limit: int
    ) -> list[tuple[tuple[str, str | None, int, bool, int], tuple[str, str | None, int, bool, int]]]: ...
    def inverse(self, top: int, limit: int) -> list[tuple[str, str | None, int, bool, int]]: ...

def murmur3_column(
    column: SupportsArrowStream, *, seed: int, null: int | None, threads: int | None
) -> Any: ...
