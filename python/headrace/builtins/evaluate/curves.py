"""Points for plots, thinned to what an eye can tell apart.

`Evaluation.curves`, by task:

- `roc`, `pr` (classification): a list, one entry a class shown: `class`, and `fpr`, `tpr` or `recall`,
`precision`,
  `share` (of the class among the rows: what a precision is without skill).
- `calibration` (classification): `of` ("positive class" or "predicted class"), and by bin `claimed`,
`observed`, `low`,
  `high` (Wilson 1927), `rows`.
- `confusion` (classification): `labels`, `counts[true][predicted]`.
- `residuals` (regression): `predicted`, `actual` (some rows), `edges`, `counts` (histogram of prediction
minus truth),
  `bands` (by range of the prediction: `predicted`, `low`, `median`, `high` of the residuals: their 10 %, 50
  %, 90 %).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

POINTS = 200
MOST_CURVES = 6
MOST_LABELS = 20
SCATTER = 400
BANDS = 12


def curves(scored: metrics.Scored, classes: Sequence[str], *, level: float, seed: int) -> dict[str, Any]:
    """All curves of a model's task; none where the scores are not numbers."""
    if scored.flaw:
        return {}
    if scored.regression:
        return {"residuals": residuals(scored, seed)}
    counts = np.bincount(scored.truth, minlength=scored.classes)
    shown = [1] if scored.task == "binary" else [int(k) for k in np.argsort(-counts, kind="stable")[:MOST_CURVES]]
    shown = [k for k in shown if 0 < counts[k] < scored.rows]
    return {
        "roc": [{"class": classes[k], **roc(scored, k)} for k in shown],
        "pr": [{"class": classes[k], **precision_recall(scored, k)} for k in shown],
        "calibration": calibration(scored, level),
        "confusion": confusion(scored, classes),
    }


def _descending(scored: metrics.Scored, label: int) -> tuple[Floats, Floats]:
    """Rows of the class and other rows that score at least as high, for each distinct score from the highest on."""
    column = scored.scores[:, label]
    order = np.argsort(-column, kind="stable")
    ends = np.flatnonzero(np.append(column[order][1:] != column[order][:-1], True))
    mine = (scored.truth[order] == label).astype(np.float64)
    hits = np.cumsum(mine)[ends]
    return hits, ends + 1 - hits


def _rounded(values: Any) -> list[float]:
    return [float(value) for value in np.round(np.asarray(values, dtype=np.float64), 6)]


def _even(along: Floats) -> NDArray[np.intp]:
    """Indices of about `POINTS` points, evenly spread along an ascending coordinate; first and last included."""
    wanted = np.linspace(along[0], along[-1], POINTS)
    return np.unique(np.concatenate([[0], np.searchsorted(along, wanted), [len(along) - 1]]).clip(0, len(along) - 1))


def roc(scored: metrics.Scored, label: int) -> dict[str, Any]:
    """True against false positive rate of one class against the rest."""
    hits, misses = _descending(scored, label)
    tpr, fpr = np.append(0, hits / hits[-1]), np.append(0, misses / misses[-1])
    keep = _even(tpr + fpr)
    return {"fpr": _rounded(fpr[keep]), "tpr": _rounded(tpr[keep])}


def precision_recall(scored: metrics.Scored, label: int) -> dict[str, Any]:
    """Precision against recall of one class against the rest, and the share of the class."""
    hits, misses = _descending(scored, label)
    recall, precision = hits / hits[-1], hits / (hits + misses)
    keep = _even(recall)
    share = float(hits[-1] / (hits[-1] + misses[-1]))
    return {"recall": _rounded(recall[keep]), "precision": _rounded(precision[keep]), "share": share}


def calibration(scored: metrics.Scored, level: float) -> dict[str, Any]:
    """What the model claims against what came true, in bins of equal numbers of rows."""
    claimed, true = scored.confidence
    rows = np.bincount(scored.bins)
    held = rows > 0
    n = rows[held]
    p = np.bincount(scored.bins, true)[held] / n
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return {
        "of": "positive class" if scored.task == "binary" else "predicted class",
        "claimed": _rounded(np.bincount(scored.bins, claimed)[held] / n),
        "observed": _rounded(p),
        "low": _rounded(middle - half),
        "high": _rounded(middle + half),
        "rows": [int(count) for count in n],
    }


def confusion(scored: metrics.Scored, classes: Sequence[str]) -> dict[str, Any]:
    """Counts by true and predicted class; beyond 20 classes, the rarest together as "(others)"."""
    labels = list(classes)
    full = np.bincount(scored.cells, minlength=scored.classes**2).reshape(scored.classes, scored.classes)
    if scored.classes > MOST_LABELS:
        frequent = np.sort(np.argsort(-full.sum(axis=1), kind="stable")[: MOST_LABELS - 1])
        place = np.full(scored.classes, MOST_LABELS - 1)
        place[frequent] = np.arange(MOST_LABELS - 1)
        merged = np.zeros((MOST_LABELS, MOST_LABELS), dtype=full.dtype)
        np.add.at(merged, (place[:, None], place[None, :]), full)
        full, labels = merged, [*(labels[int(k)] for k in frequent), "(others)"]
    return {"labels": labels, "counts": [[int(n) for n in row] for row in full]}


def residuals(scored: metrics.Scored, seed: int) -> dict[str, Any]:
    """Where and how a regression errs."""
    said, truth = scored.scores, scored.truth
    error = said - truth
    rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence([seed, 4])))
    some = np.sort(rng.choice(scored.rows, min(SCATTER, scored.rows), replace=False))
    low, high = np.quantile(error, [0.005, 0.995])
    counts, edges = np.histogram(np.clip(error, low, high), bins=40)
    cuts = np.unique(np.quantile(said, np.linspace(0, 1, BANDS + 1)[1:-1]))
    codes = np.searchsorted(cuts, said, side="left")
    bands: dict[str, list[float]] = {"predicted": [], "low": [], "median": [], "high": []}
    for code in np.unique(codes):
        inside = codes == code
        bands["predicted"].append(float(said[inside].mean()))
        for name, value in zip(("low", "median", "high"), np.quantile(error[inside], [0.1, 0.5, 0.9]), strict=True):
            bands[name].append(float(value))
    return {
        "predicted": [float(v) for v in said[some]],
        "actual": [float(v) for v in truth[some]],
        "edges": [float(v) for v in edges],
        "counts": [int(v) for v in counts],
        "bands": bands,
    }
