"""The plots, as SVG that takes its colours and letters from the page around it.

matplotlib draws with stand-in colours, which become CSS variables afterwards, so that a plot is right in light and in
dark; text stays text. Names from the data never reach matplotlib, which would look for mathematics and for glyphs in
them: it draws stand-ins, which are replaced by the escaped names. The same data gives the same bytes.
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.builtins.report.markup import Html, h, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

INK, MUTED, LINE, MODEL, RIVAL, SURFACE = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
SERIES = (MODEL, RIVAL, "#070707", "#080808", "#090909", "#0a0a0a")
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    MODEL: "model",
    RIVAL: "rival",
    SURFACE: "surface",
    **dict(zip(SERIES[2:], ("third", "fourth", "fifth", "sixth"), strict=True)),
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 1.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}
LONGEST = 42


class Plot:
    """One figure while it is drawn: `axes`, and `name` for what comes from the data; `picture` once it is done."""

    def __init__(self, figure: Any) -> None:
        self._figure = figure
        self._names: list[str] = []
        self.axes: Axes = figure.add_subplot()
        self.picture = Html()

    def name(self, value: object) -> str:
        """A stand-in for a text from the data."""
        plain = str(value)
        self._names.append(plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…")
        return f"@@{len(self._names) - 1:04d}@@"

    def frame(self, left: float, bottom: float, right: float, top: float) -> None:
        """Room around the axes, in inches."""
        width, height = self._figure.get_size_inches()
        self._figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)

    def finish(self, drawn: str, labels: Html, label_ids: str) -> None:
        """From matplotlib's file to an element of the page."""
        drawn = drawn[drawn.index("<svg") :]
        drawn = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawn, flags=re.DOTALL)
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawn))
        drawn = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", drawn)
        drawn = re.sub(r" font-family: [^;\"]*;", "", drawn)
        drawn = re.sub(r"#[0-9a-f]{6}\b", lambda m: f"var(--{_VARIABLES[m[0]]})" if m[0] in _VARIABLES else m[0], drawn)
        drawn = re.sub(r"\s*\n\s*", " ", drawn)
        drawn = re.sub(r"> <", "><", drawn)
        drawn = re.sub(r"@@(\d{4})@@", lambda m: text(self._names[int(m[1])]), drawn)
        width, height = 72 * self._figure.get_size_inches()
        head = (
            f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{label_ids}" '
            'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        )
        self.picture = Html(head + labels + drawn[drawn.index(">") + 1 :].rstrip())


@contextmanager
def plotting(name: str, title: str, about: str, *, width: float = 4.6, height: float = 3.8) -> Iterator[Plot]:
    """A plot to draw on; when the block ends, its `picture` is an inline `<svg>`.

    Parameters
    ----------
    name
        Distinct within the page: ids are made from it.
    title, about
        What it is and what it shows, for those who do not see it.
    width, height
        In inches of 72 CSS pixels.

    """
    from matplotlib import rc_context
    from matplotlib.backends import backend_svg
    from matplotlib.figure import Figure

    # Without pyplot, matplotlib's settings are all that is global; they are put back when the block ends.
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure: Any = Figure(figsize=(width, height), facecolor="none")
        canvas: Any = backend_svg.FigureCanvasSVG
        canvas(figure)
        plot = Plot(figure)
        yield plot
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Type", "Format")))
    labels = Html(h("title", title, id=f"{name}-t") + h("desc", about, id=f"{name}-d"))
    plot.finish(buffer.getvalue(), labels, f"{name}-t {name}-d")


def available() -> bool:
    """Whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None
