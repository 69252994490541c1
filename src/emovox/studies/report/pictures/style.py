"""The look that all pictures of a study have in common: the page's style, panels, colours and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from emovox.evaluation.figures import GRID, INK, MUTED, SERIES

WIDTH = 9.0
"""Inches. The page scales pictures to its own width, and letters with them."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""A shape for each of the page's six colours, so that no colour stands alone."""

DASHED: Mapping[str, Any] = {"color": MUTED, "linewidth": 1, "linestyle": (0, (3, 3))}
"""Of lines that are no result, such as where guessing lies."""

_SHAPES = ("circle", "square", "triangle", "diamond", "inverted triangle", "cross")


def with_shapes(names: Sequence[str]) -> list[str]:
    """Name the series of a legend with the shape of each.

    Example:
        >>> with_shapes(["before", "after"])
        ['before (circle)', 'after (square)']
    """
    return [f"{name} ({shape})" for name, shape in zip(names, _SHAPES, strict=False)]


def look(number: int) -> tuple[str, str]:
    """Give the colour and the shape of a series, counted from 0."""
    return SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]


@contextmanager
def page_style() -> Iterator[None]:
    """Set matplotlib up for pictures of the page: names are text, whatever stands in them, and ids do not change."""
    import matplotlib as mpl

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "emovox",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.parse_math": False,
    }
    with mpl.rc_context(style):
        yield


def panels(rows: int, columns: int, height: float, *, close: bool = False, **options: Any) -> tuple[Any, Any]:
    """Begin a picture of one or several panels.

    Args:
        rows, columns: of panels.
        height: of the whole, in inches.
        close: whether panels may stand close, because their scales end before their edges.
        options: of matplotlib's ``subplots``.

    Returns:
        The figure, and an array of axes of shape (rows, columns).
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Wide enough that the numbers of two panels do not touch.
    layout = ConstrainedLayoutEngine() if close else ConstrainedLayoutEngine(w_pad=0.09)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        _clear(one)
    return figure, axes


def title(axes: Any, text: str) -> None:
    """Put a title over a panel."""
    axes.set_title(text, loc="left", color=INK, fontsize=10, fontweight="bold")


def close_grid(axes: Any, used: int, label: str) -> None:
    """Hide the panels of a grid that are not used, and name the scale under the lowest one of each column.

    Args:
        axes: of shape (rows, columns), used row by row.
        used: number of panels.
        label: of the scale.
    """
    for panel in axes.flat[used:]:
        panel.set_visible(False)
    columns = axes.shape[1]
    for column in range(columns):
        lowest = axes.flat[:used][column::columns][-1]
        lowest.set_xlabel(label)
        lowest.tick_params(labelbottom=True)


def _clear(axes: Any) -> None:
    """Take away everything of a panel that is not data, and let a grid carry the eye."""
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=MUTED, length=0, labelcolor=INK)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
