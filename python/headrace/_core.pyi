"""The extension module. Only `headrace.compute` imports it; its functions are documented there."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt

from headrace.types import SupportsArrowStream

__all__ = [
    "Plan",
    "TextVectorizer",
    "drift_compare",
    "drift_counts",
    "drift_ks_bounds",
    "drift_samples",
    "english_stop_words",
    "frame_digest",
    "plan_fingerprint",
    "text_unicode_version",
]

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

def drift_compare(columns: list[dict[str, Any]], asked: dict[str, Any]) -> list[dict[str, Any]]: ...
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
