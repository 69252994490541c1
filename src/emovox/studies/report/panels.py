"""The look that the pictures of a study have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from emovox.evaluation.figures import GRID, INK, MUTED

WIDTH = 9.0
"""Inches. The page scales pictures to its own width, and letters with them."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""A shape for each of the page's six colours, so that no colour stands alone."""


_SHAPES = ("circle", "square", "triangle", "diamond", "inverted triangle", "cross")


def with_shapes(names: Sequence[str]) -> list[str]:
    """Name the series of a legend with the shape of each.

    Example:
        >>> with_shapes(["before", "after"])
        ['before (circle)', 'after (square)']
    """
    return [f"{name} ({shape})" for name, shape in zip(names, _SHAPES, strict=False)]


@contextmanager
def page_style() -> Iterator[None]:
    """Set matplotlib up for pictures of the page: letters as text, ids that do not change from run to run."""
    import matplotlib as mpl

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "emovox", "font.family": "sans-serif", "font.size": 10}
    with mpl.rc_context(style):
        yield


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Any, Any]:
    """Begin a picture of several panels.

    Args:
        rows, columns: of panels.
        height: of the whole, in inches.
        options: of matplotlib's ``subplots``.

    Returns:
        The figure, and an array of axes of shape (rows, columns).
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Wide enough that the numbers of two panels do not touch.
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.09))
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        clear(one)
    return figure, axes


def clear(axes: Any) -> None:
    """Take away everything of a panel that is not data, and let a grid carry the eye."""
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=MUTED, length=0, labelcolor=INK)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)


def title(axes: Any, text: str) -> None:
    """Put a title over a panel."""
    axes.set_title(text, loc="left", color=INK, fontsize=10, fontweight="bold")
