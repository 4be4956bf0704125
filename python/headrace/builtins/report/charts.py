"""What is drawn: curves, calibration, importance, slices, residuals. None where there is nothing to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.builtins.report.figures import INK, LONGEST, MODEL, MUTED, RIVAL, SERIES, SURFACE, Plot, plotting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes

    from headrace.builtins.report.markup import Html

MOST_BARS = 15
MOST_SLICES = 24

# Inches of 72 pixels, so that letters have about the size of the text around them.
_HALF: Any = {"width": 6.7, "height": 4.4}
_WIDE = 9.8
_FULL = 12.6


def room(labels: Iterable[str]) -> float:
    """Inches for labels beside the axes; matplotlib cannot measure what only the page will write."""
    return 0.35 + 0.083 * min(LONGEST, max(len(label) for label in labels))


def _unit(axes: Axes) -> None:
    """A square from 0 to 1."""
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def _lines(plot: Plot, series: Sequence[Mapping[str, Any]], x: str, y: str, *, steps: bool) -> None:
    several = len(series) > 1
    for at, one in enumerate(series):
        style: dict[str, Any] = {"drawstyle": "steps-post"} if steps else {}
        label = plot.name(one["class"]) if several else None
        plot.axes.plot(one[x], one[y], color=SERIES[at % len(SERIES)], linewidth=1.8, label=label, zorder=3, **style)
    if several:
        plot.axes.legend(frameon=False, fontsize=9, loc="lower right" if x == "fpr" else "lower left")


def roc(curves: Mapping[str, Any]) -> Html | None:
    """True against false positive rate."""
    series = curves.get("roc") or []
    if not series:
        return None
    with plotting(
        "roc", "ROC curve", "True positive rate against false positive rate, over all thresholds.", **_HALF
    ) as plot:
        plot.frame(0.62, 0.55, 0.15, 0.12)
        plot.axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        _lines(plot, series, "fpr", "tpr", steps=False)
        plot.axes.set_xlabel("False positive rate")
        plot.axes.set_ylabel("True positive rate")
        _unit(plot.axes)
    return plot.picture


def precision_recall(curves: Mapping[str, Any]) -> Html | None:
    """Precision against recall, with the share of the class as what no skill gives."""
    series = curves.get("pr") or []
    if not series:
        return None
    with plotting("pr", "Precision and recall", "Precision against recall, over all thresholds.", **_HALF) as plot:
        plot.frame(0.62, 0.55, 0.15, 0.12)
        for one in series if len(series) == 1 else []:
            plot.axes.axhline(one["share"], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        _lines(plot, series, "recall", "precision", steps=False)
        plot.axes.set_xlabel("Recall")
        plot.axes.set_ylabel("Precision")
        _unit(plot.axes)
    return plot.picture


def calibration(curves: Mapping[str, Any]) -> Html | None:
    """Observed frequency against claimed probability, by bin."""
    found = curves.get("calibration")
    if not found or not found["claimed"]:
        return None
    with plotting(
        "calibration",
        "Calibration",
        "Observed frequency against predicted probability, in bins of equal size.",
        **_HALF,
    ) as plot:
        plot.frame(0.62, 0.55, 0.15, 0.12)
        plot.axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        plot.axes.vlines(found["claimed"], found["low"], found["high"], color=MODEL, linewidth=1.4, alpha=0.55)
        plot.axes.plot(
            found["claimed"],
            found["observed"],
            color=MODEL,
            linewidth=1.4,
            marker="o",
            markersize=4.5,
            markeredgecolor=SURFACE,
            markeredgewidth=0.8,
            zorder=3,
        )
        plot.axes.set_xlabel("Predicted probability")
        plot.axes.set_ylabel("Observed frequency")
        _unit(plot.axes)
    return plot.picture


def importance(found: Mapping[str, float], metric: str) -> Html | None:
    """Bars of the most important columns."""
    shown = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST_BARS]
    if not shown:
        return None
    height = 0.75 + 0.27 * len(shown)
    with plotting(
        "importance",
        "Importance of the input columns",
        f"How much worse {metric} gets when a column is shuffled.",
        width=_WIDE,
        height=height,
    ) as plot:
        plot.frame(room(column for column, _ in shown), 0.55, 0.2, 0.1)
        at = list(range(len(shown)))
        plot.axes.barh(at, [value for _, value in shown], color=MODEL, height=0.62, zorder=3)
        plot.axes.axvline(0, color=MUTED, linewidth=1, zorder=4)
        plot.axes.set_yticks(at, [plot.name(column) for column, _ in shown], color=INK)
        plot.axes.set_ylim(len(shown) - 0.4, -0.6)
        plot.axes.grid(visible=False, axis="y")
        plot.axes.spines["left"].set_visible(False)
        plot.axes.locator_params(axis="x", nbins=5)
        plot.axes.set_xlabel(f"How much worse {metric} gets when the column is shuffled")
    return plot.picture


def slices(found: Sequence[Mapping[str, Any]], primary: str, title: str, overall: float | None) -> Html | None:
    """A forest plot of the worst slices: the metric with its interval, and what the trivial predictor reaches."""
    measured = [part for part in found if part["metrics"][primary].get("value") is not None][:MOST_SLICES]
    if not measured:
        return None
    height = 1.0 + 0.29 * len(measured)
    with plotting(
        "slices",
        f"{title} by slice",
        f"{title} in each slice with its interval, worst first.",
        width=_FULL,
        height=height,
    ) as plot:
        plot.frame(room(f"{part['column']}: {part['value']}" for part in measured), 0.6, 0.2, 0.4)
        axes = plot.axes
        for at, part in enumerate(measured):
            values = part["metrics"][primary]
            if values.get("low") is not None:
                axes.plot([values["low"], values["high"]], [at, at], color=MODEL, linewidth=2.2, alpha=0.55, zorder=3)
            if values.get("baseline") is not None:
                axes.plot(values["baseline"], at, marker="D", color=RIVAL, markersize=4.5, linestyle="none", zorder=4)
            axes.plot(values["value"], at, marker="o", color=MODEL, markersize=6, markeredgecolor=SURFACE, zorder=5)
        if overall is not None:
            axes.axvline(overall, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        labels = [plot.name(f"{part['column']}: {part['value']}") for part in measured]
        axes.set_yticks(range(len(measured)), labels, color=INK)
        axes.set_ylim(len(measured) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(title)
        axes.plot([], [], marker="o", color=MODEL, linewidth=2.2, markersize=6, label="model, with interval")
        axes.plot([], [], marker="D", color=RIVAL, markersize=4.5, linestyle="none", label="trivial predictor")
        axes.plot([], [], color=MUTED, linewidth=1, linestyle=(0, (3, 3)), label="model on all rows")
        axes.legend(
            frameon=False, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.1
        )
    return plot.picture


def actual(curves: Mapping[str, Any]) -> Html | None:
    """Predicted against actual values of some rows."""
    found = curves.get("residuals")
    if not found or not found["predicted"]:
        return None
    with plotting("actual", "Predicted and actual", "Predicted against actual values of a sample of the rows.") as plot:
        plot.frame(0.75, 0.55, 0.15, 0.12)
        low = min(*found["predicted"], *found["actual"])
        high = max(*found["predicted"], *found["actual"])
        plot.axes.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        plot.axes.plot(
            found["predicted"], found["actual"], "o", color=MODEL, markersize=4, alpha=0.45, markeredgewidth=0
        )
        plot.axes.set_xlabel("Predicted")
        plot.axes.set_ylabel("Actual")
        plot.axes.locator_params(nbins=6)
    return plot.picture


def residual_histogram(curves: Mapping[str, Any]) -> Html | None:
    """How often the prediction is off by how much."""
    found = curves.get("residuals")
    if not found or not found["counts"]:
        return None
    with plotting("histogram", "Errors", "Number of rows by prediction minus actual value.") as plot:
        plot.frame(0.75, 0.55, 0.15, 0.12)
        plot.axes.stairs(found["counts"], found["edges"], fill=True, color=MODEL, alpha=0.75, zorder=3)
        plot.axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=4)
        plot.axes.set_xlabel("Prediction minus actual value")
        plot.axes.set_ylabel("Rows")
        plot.axes.locator_params(nbins=6)
    return plot.picture


def residual_bands(curves: Mapping[str, Any]) -> Html | None:
    """The spread of the errors along the prediction."""
    found = curves.get("residuals")
    if not found or len(found["bands"]["predicted"]) < 2:
        return None
    bands = found["bands"]
    with plotting(
        "bands", "Errors along the prediction", "Median and middle 80 % of the errors, by range of prediction."
    ) as plot:
        plot.frame(0.75, 0.55, 0.15, 0.12)
        plot.axes.fill_between(bands["predicted"], bands["low"], bands["high"], color=MODEL, alpha=0.22, linewidth=0)
        plot.axes.plot(
            bands["predicted"], bands["median"], color=MODEL, linewidth=1.8, marker="o", markersize=4, zorder=3
        )
        plot.axes.axhline(0, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        plot.axes.set_xlabel("Predicted")
        plot.axes.set_ylabel("Prediction minus actual value")
        plot.axes.locator_params(nbins=6)
    return plot.picture
