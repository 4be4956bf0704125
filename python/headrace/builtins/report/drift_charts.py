"""The plots of a drift report: columns over time, and both distributions of a column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from headrace.builtins.report.charts import room
from headrace.builtins.report.distributions import Bars, value_text
from headrace.builtins.report.figures import INK, MODEL, MUTED, RIVAL, SURFACE, Plot, plotting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace import DriftReport
    from headrace.builtins.report.markup import Html

MOST_PERIODS = 60
MOST_COLUMNS = 30
_WIDE = 12.6
_CELL = 0.30


def over_time(
    periods: Sequence[tuple[str, int, DriftReport]], columns: Sequence[str], *, name: str = "heat"
) -> Html | None:
    """A heat map: a row a column, ranked; a cell a period; orange is drift, and strong is much."""
    shown, names = periods[-MOST_PERIODS:], columns[:MOST_COLUMNS]
    if not shown or not names:
        return None
    height = 1.35 + _CELL * len(names)
    about = "Each cell is a column in a period: how much it changed from the reference, and the verdict."
    with plotting(name, "Drift over time", about, width=_WIDE, height=height) as plot:
        from matplotlib.patches import Rectangle

        axes = plot.axes
        plot.frame(room(names), 0.95, 0.15, 0.4)
        for x, (_, _, report) in enumerate(shown):
            found = {column.name: column for column in report}
            for y, column in enumerate(names):
                one = found.get(column)
                if one is None or math.isnan(one.effect.size) or one.verdict == "not enough data":
                    axes.plot(x, y, marker="o", markersize=2.6, color=MUTED, linestyle="none", zorder=3)
                    continue
                color = RIVAL if one.verdict == "drift" else MODEL
                shade = 0.10 + 0.90 * math.sqrt(min(1.0, max(0.0, one.effect.size)))
                axes.add_patch(
                    Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=color, alpha=shade, linewidth=0, zorder=3)
                )
        axes.set_xlim(-0.55, max(len(shown), 8) - 0.45)
        axes.set_ylim(len(names) - 0.45, -0.55)
        axes.set_yticks(range(len(names)), [plot.name(column) for column in names], color=INK)
        step = max(1, -(-len(shown) // 12))
        ticks = list(range(0, len(shown), step))
        axes.set_xticks(
            ticks, [plot.name(shown[at][0]) for at in ticks], rotation=35, ha="right", rotation_mode="anchor"
        )
        axes.grid(visible=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.plot([], [], "s", markersize=9, color=RIVAL, alpha=0.8, label="drift", linestyle="none")
        axes.plot([], [], "s", markersize=9, color=MODEL, alpha=0.35, label="no drift", linestyle="none")
        axes.plot([], [], "o", markersize=3, color=MUTED, label="not enough data", linestyle="none")
        _legend(plot, 3)
    return plot.picture


def distributions(found: Bars, kind: str, title: str, *, name: str) -> Html | None:
    """The reference and live, side by side."""
    about = f"Share of the rows by value of {title}: the reference, and live."
    if found.edges is None:
        return _categories(found, about, name=name)
    return _histogram(found, kind, about, name=name)


def _histogram(found: Bars, kind: str, about: str, *, name: str) -> Html | None:
    edges = found.edges or []
    width = edges[-1] - edges[0]
    bar = width / max(14, len(edges) - 1) * 1.6
    with plotting(name, "Distribution", about, width=6.7, height=3.5) as plot:
        axes = plot.axes
        plot.frame(0.62, 0.62 if found.apart else 0.45, 0.15, 0.42)
        axes.stairs(found.reference, edges, fill=True, color=MODEL, alpha=0.35, zorder=3)
        axes.stairs(found.reference, edges, color=MODEL, linewidth=1.2, zorder=4)
        axes.stairs(found.live, edges, color=RIVAL, linewidth=1.8, zorder=5)
        at = edges[-1] + bar
        labels: list[tuple[float, str]] = []
        for label, p, q in found.apart:
            axes.bar([at, at + bar], [p, q], width=bar * 0.92, color=[MODEL, RIVAL], align="edge", zorder=3)
            labels.append((at + bar, label))
            at += 3.2 * bar
        if labels:
            axes.axvline(edges[-1] + bar * 0.45, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        from matplotlib.ticker import MaxNLocator

        ticks: list[float] = list(MaxNLocator(nbins=4 if labels else 6).tick_values(edges[0], edges[-1]))
        inside = [t for t in ticks if edges[0] <= t <= edges[-1]]
        axes.set_xticks(
            [*inside, *(x for x, _ in labels)],
            [*(plot.name(value_text(t, kind)) for t in inside), *(plot.name(text) for _, text in labels)],
        )
        for written in axes.get_xticklabels()[len(inside) :]:
            written.set_rotation(18)
            written.set_horizontalalignment("right")
            written.set_rotation_mode("anchor")
        axes.grid(visible=False, axis="x")
        axes.set_ylim(bottom=0)
        _percent(axes.yaxis)
        _key(plot)
    return plot.picture


def _categories(found: Bars, about: str, *, name: str) -> Html | None:
    rows = [*zip(found.labels, found.reference, found.live, strict=True), *found.apart]
    if not rows:
        return None
    height = 0.95 + 0.27 * len(rows)
    with plotting(name, "Distribution", about, width=6.7, height=height) as plot:
        axes = plot.axes
        plot.frame(min(2.6, room(label for label, _, _ in rows)), 0.42, 0.2, 0.42)
        split = len(found.labels) - 0.5
        for y, (_, p, q) in enumerate(rows):
            axes.barh([y - 0.19, y + 0.19], [p, q], height=0.36, color=[MODEL, RIVAL], zorder=3)
        if found.apart and found.labels:
            axes.axhline(split, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        axes.set_yticks(range(len(rows)), [plot.name(label or "(empty)") for label, _, _ in rows], color=INK)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
        _percent(axes.xaxis)
        _key(plot)
    return plot.picture


def _percent(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))


def _key(plot: Plot) -> None:
    plot.axes.plot([], [], "s", markersize=8, color=MODEL, alpha=0.6, label="reference", linestyle="none")
    plot.axes.plot([], [], "s", markersize=8, color=RIVAL, label="live", linestyle="none")
    _legend(plot, 2)


def _legend(plot: Plot, columns: int) -> None:
    plot.axes.legend(
        frameon=False,
        fontsize=9,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        borderaxespad=0.1,
        handletextpad=0.3,
        columnspacing=1.4,
        edgecolor=SURFACE,
    )
