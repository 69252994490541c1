"""What stands in the rows of a picture: points of equal size, bands behind them, guessing, and the key above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emovox.evaluation.figures import GRID, INK, MUTED
from emovox.evaluation.metrics import Interval
from emovox.studies.report.pictures.style import DASHED, MARKERS, look

_SIZES = (5.8, 5.4, 6.4, 5.2, 6.4, 6.6)
"""Widths at which the shapes look equally large."""


@dataclass(frozen=True)
class Point:
    """A value and its 95 % interval, all in [0, 1]."""

    value: float
    interval: Interval


def shape(series: int) -> dict[str, Any]:
    """Give colour, shape and size of a series' points, counted from 0, for matplotlib's ``plot``."""
    color, marker = look(series)
    return {
        "color": color,
        "marker": marker,
        "markersize": _SIZES[series % len(MARKERS)],
        "markeredgewidth": 0,
    }


def band(axes: Any, place: float) -> None:
    """Shade a row, so that the eye stays in it."""
    axes.axhspan(place - 0.5, place + 0.5, color=GRID, alpha=0.35, linewidth=0, zorder=0)


def guessing(axes: Any, chance: float, places: Sequence[int]) -> None:
    """Mark where guessing lies, in [0, 1], in rows but not across the headings between them."""
    ends = [[place - 0.5 for place in places], [place + 0.5 for place in places]]
    axes.plot([[100 * chance] * len(places)] * 2, ends, zorder=1, **DASHED)
    above = axes.get_xaxis_transform()
    axes.text(100 * chance, 1.0, "guessing", color=MUTED, fontsize=9, va="bottom", ha="center", transform=above)


def dot_key(series: int, name: str) -> tuple[Any, str]:
    """Give the entry of a series for `key`."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", **shape(series)), name


def line_key(name: str) -> tuple[Any, str]:
    """Give the entry of upright lines for `key`."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=INK, linestyle="", marker="|", markersize=10, markeredgewidth=1.8), name


def key(figure: Any, entries: Sequence[tuple[Any, str]]) -> None:
    """Say above a picture what its marks are, where the page's legend of colours cannot."""
    handles, names = zip(*entries, strict=True)
    figure.legend(
        handles, names, loc="outside upper left", ncols=len(names), frameon=False, labelcolor=INK, handletextpad=0.4
    )
