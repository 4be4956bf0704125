"""Categories, and what else is looked up or hashed by key text; free text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace import _core
from headrace.compute.plan.config import TreatAs  # noqa: TC001  # a default argument's type
from headrace.compute.plan.context import short
from headrace.compute.plan.document import (
    BucketStep,
    CategoryStep,
    FrequencyStep,
    HashStep,
    OneHotStep,
    TargetStep,
    TextStep,
)
from headrace.compute.plan.encoding import Encoded, codes_of, encode
from headrace.compute.plan.keys import shown
from headrace.compute.plan.statistics import scaling
from headrace.compute.plan.target import class_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    from headrace.compute.plan.context import Subject
    from headrace.compute.plan.document import Choice


@dataclass(frozen=True)
class _Seen:
    """Texts with their counts, most frequent first, equal counts by code point; and the rows that have one."""

    counts: list[tuple[str, int]]
    present: int

    @classmethod
    def of(cls, keys: pl.Series) -> _Seen:
        import polars as pl

        present = keys.drop_nulls().alias("text")
        counts = present.value_counts().sort(by=["count", "text"], descending=[True, False])
        pairs = zip(counts["text"].to_list(), counts["count"].cast(pl.Int64).to_list(), strict=True)
        return cls(list(pairs), len(present))


_FEW_VALUES: Final = 10
"""A column with so few values is never near-unique, however few rows there are."""
_MOST_COUNTS: Final = 50_000
"""A frequency or target step keeps so many values; the rarer ones count as unseen."""
_HASH_SIZE: Final = 16
_TEXT_SIZE: Final = 256
_BUCKETS: Final = 1024


def fit_keys(column: Subject, kind: TreatAs | None) -> Choice:
    """A column of key texts as `kind`, or as what suits the number of its values and the model."""
    seen = _Seen.of(column.series)
    if not column.forced and (reason := _dull_text(column, seen)):
        return column.dropped(reason)
    why = f"{len(seen.counts)} values in {seen.present} rows"
    if kind is None:
        limit = _limit(column)
        kind = "target" if len(seen.counts) > limit else "one_hot" if column.linear else "category"
        why += f", too many for {limit} codes" if len(seen.counts) > limit else ""
    return _KINDS[kind](column, seen, [why])


def fit_text(column: Subject) -> Choice:
    """Free text as hashed words."""
    if not column.forced and column.series.null_count() == len(column.series):
        return column.dropped("null in every row")
    config = column.config
    size = config.size or _TEXT_SIZE
    # Written out: a plan goes on meaning the words that it was fitted with, and any reader of its format knows them.
    stop_words = _core.english_stop_words() if config.stop_words == "english" else config.stop_words
    step = TextStep(
        input=column.name,
        output=column.derived(".text", lambda name: (f"{name}.{index}" for index in range(size))),
        size=size,
        analyzer=config.analyzer,
        ngrams=config.ngrams,
        lowercase=config.lowercase,
        strip_accents=None if config.strip_accents == "none" else config.strip_accents,
        stop_words=tuple(sorted(set(stop_words))),
        signed=column.linear if config.signed is None else config.signed,
        norm=None if config.norm == "none" else config.norm,
        binary=config.binary,
    )
    column.steps.append(step)
    return column.kept("text", [f"{config.analyzer} {config.ngrams[0]} to {config.ngrams[1]}, hashed to {size}"])


def _category(column: Subject, seen: _Seen, notes: list[str]) -> Choice:
    vocabulary = _vocabulary(column, seen, notes, "the others share one")
    name = column.name if len(column.reads) == 1 else column.derived("")
    size = len(vocabulary)
    step = CategoryStep(inputs=column.reads, output=name, vocabulary=vocabulary, missing=size, unseen=size + 1)
    column.steps.append(step)
    return column.kept("category", notes)


def _one_hot(column: Subject, seen: _Seen, notes: list[str]) -> Choice:
    vocabulary = _vocabulary(column, seen, notes, "the others have none")
    if not vocabulary:
        return column.dropped("no value in enough rows")
    name = column.derived("", lambda name: (f"{name}={text}" for text in vocabulary))
    column.steps.append(OneHotStep(inputs=column.reads, output=name, vocabulary=vocabulary))
    return column.kept("one_hot", [*notes, "an output for each"])


def _vocabulary(column: Subject, seen: _Seen, notes: list[str], others: str) -> tuple[str, ...]:
    least = _least(column)
    vocabulary = tuple(text for text, count in seen.counts[: _limit(column)] if count >= least)
    if (size := len(vocabulary)) < len(seen.counts):
        known = sum(count for _, count in seen.counts[:size])
        notes.append(f"the {size} most frequent have a code ({known / max(seen.present, 1):.0%} of the rows), {others}")
    return vocabulary


def _frequency(column: Subject, seen: _Seen, notes: list[str]) -> Choice:
    import numpy as np

    if not column.forced and seen.present == len(column.series) and len({count for _, count in seen.counts}) == 1:
        return column.dropped(f"{len(seen.counts)} values, all equally frequent")
    kept = _often(column, seen)
    rows = max(len(column.series), 1)
    codes = codes_of(column.series, [text for text, _ in kept])
    shares = np.array([*(count / rows for _, count in kept), np.nan, 0.0])  # missing, unseen
    filler, scaled = column.shared.finish(shares[codes], column.config.impute, column.config.scale)
    step = FrequencyStep(
        inputs=column.reads, output=column.derived(".frequency"), counts=kept, rows=rows, impute=filler, scaling=scaled
    )
    column.steps.append(step)
    notes.append("share of the training rows with the same value")
    return column.kept("frequency", notes + _rare(seen, kept))


def _target(column: Subject, seen: _Seen, notes: list[str]) -> Choice:
    shared = column.shared
    kept = tuple(sorted(text for text, _ in _often(column, seen)))
    codes = codes_of(column.series, kept)
    table, means = encode(codes, len(kept), shared.labels, column.config.smooth)
    many = shared.target.task == "multiclass"
    endings = [f".target.{class_text(label)}" for label in shared.target.classes] if many else [".target"]
    how = column.config.scale or ("standard" if column.linear else "none")
    found = table[codes]
    found[codes < 0] = means
    scaled = [made for made in (scaling(found[:, i], how) for i in range(len(endings))) if made is not None]
    step = TargetStep(
        inputs=column.reads,
        outputs=tuple(column.derived(ending) for ending in endings),
        encodings=tuple((text, tuple(row)) for text, row in zip(kept, table.tolist(), strict=False)),
        missing=tuple(table[len(kept)].tolist()),
        unseen=tuple(means.tolist()),
        scaling=tuple(scaled) or None,
    )
    column.steps.append(step)
    smooth = column.config.smooth
    shared.encoded.append(Encoded(step, codes, smooth))
    notes.append(f"mean of the target by value, smoothed ({smooth})")
    return column.kept("target", notes + _rare(seen, kept))


def _bucket(column: Subject, _: _Seen, notes: list[str]) -> Choice:
    buckets = column.config.size or _BUCKETS
    step = BucketStep(inputs=column.reads, output=column.derived(".bucket"), prefix=f"{column.name}=", buckets=buckets)
    column.steps.append(step)
    return column.kept("bucket", [*notes, f"{buckets} buckets"])


def _hash(column: Subject, _: _Seen, notes: list[str]) -> Choice:
    size = column.config.size or _HASH_SIZE
    step = HashStep(
        inputs=column.reads,
        output=column.derived(".hash", lambda name: (f"{name}.{index}" for index in range(size))),
        prefix=f"{column.name}=",
        size=size,
        signed=column.linear if column.config.signed is None else column.config.signed,
    )
    column.steps.append(step)
    return column.kept("hash", [*notes, f"hashed to {size}"])


_KINDS: Final[Mapping[TreatAs, Callable[[Subject, _Seen, list[str]], Choice]]] = {
    "category": _category,
    "one_hot": _one_hot,
    "frequency": _frequency,
    "target": _target,
    "bucket": _bucket,
    "hash": _hash,
}


# --- what is counted -------------------------------------------------------------------------------------------------


def _limit(column: Subject) -> int:
    return column.config.max_categories or column.shared.config.max_categories


def _least(column: Subject) -> int:
    return column.config.min_category_count or column.shared.config.min_category_count


def _often(column: Subject, seen: _Seen) -> tuple[tuple[str, int], ...]:
    least = max(_least(column), 2 if len(seen.counts) > _MOST_COUNTS else 1)
    return tuple((text, count) for text, count in seen.counts[:_MOST_COUNTS] if count >= least)


def _rare(seen: _Seen, kept: tuple[object, ...]) -> list[str]:
    return [f"{len(seen.counts) - len(kept)} rare values count as unseen"] if len(kept) < len(seen.counts) else []


def _dull_text(column: Subject, seen: _Seen) -> str | None:
    if not seen.counts:
        return "null in every row"
    if len(seen.counts) == 1 and seen.present == len(column.series):
        return f"constant ({short(shown(seen.counts[0][0]))})"
    near = column.shared.config.near_unique
    if not column.chosen and len(seen.counts) > _FEW_VALUES and len(seen.counts) >= near * seen.present:
        what = "an identifier or free text" if len(column.reads) == 1 else "too rarely the same"
        return f"{len(seen.counts)} different values in {seen.present} rows: {what}{_guess(column)}"
    return None


def _guess(column: Subject) -> str:
    """What texts that are all different may be, as an addition to the reason."""
    import polars as pl

    if len(column.reads) > 1:
        return ""
    sample = column.series.drop_nulls().head(1000)
    if sample.cast(pl.Float64, strict=False).is_not_null().all():
        return "; all are numbers: read the column as numbers to use it"
    if sample.str.contains(r"^\d{4}-\d{2}-\d{2}").all():
        return "; all look like dates: read the column as dates to use it"
    if sample.str.contains(r"\s\S+\s").mean() > 0.5:  # type: ignore[operator]  # a number, as there are rows
        return '; many are of several words: `treat_as = "text"` hashes them'
    return ""
