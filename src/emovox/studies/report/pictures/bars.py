"""Grouped bars in panels: a figure of each model at several sizes of the training part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emovox.evaluation.figures import INK, MUTED, SERIES, as_svg
from emovox.studies.report.pictures.marks import key, line_key
from emovox.studies.report.pictures.style import page_style, panels, title

_ROOM = 7
"""What a number beside a bar takes, in per cent of the scale."""


@dataclass(frozen=True)
class Panel:
    """One of the panels of `bars`.

    Attributes:
        title: above it.
        values: by series and by name of the row, in [0, 1].
        marks: by name of the row another figure, in [0, 1], shown as a line.
    """

    title: str
    values: Sequence[Mapping[str, float]]
    marks: Mapping[str, float]


def bars(
    names: Sequence[str], grid: Sequence[Sequence[Panel]], series: Sequence[str], *, color: int, mark: str = ""
) -> str:
    """Draw grouped bars in a grid of panels that share their rows, from faint to full in one colour.

    Args:
        names: rows from top to bottom.
        grid: rows of panels.
        series: what the bars of a row are, from the faintest to the fullest.
        color: number of the page's series colour, from 0.
        mark: what marks in panels stand for.

    Returns:
        An ``<svg>`` element.
    """
    from matplotlib.patches import Patch

    shades = [float(shade) for shade in np.linspace(0.3, 1, len(series))]
    height = 1.0 + len(grid) * (0.5 + 0.36 * len(names))
    with page_style():
        figure, axes = panels(len(grid), len(grid[0]), height, close=True, sharex=True, sharey=True)
        for one, panel in zip(axes.flat, [panel for line in grid for panel in line], strict=True):
            _bars(one, names, panel, SERIES[color], shades)
        for one in axes[-1]:
            one.set_xlabel("per cent")
        entries: list[tuple[Any, str]] = [
            (Patch(color=SERIES[color], alpha=shade, linewidth=0), name)
            for shade, name in zip(shades, series, strict=True)
        ]
        marked = any(panel.marks for line in grid for panel in line)
        key(figure, [*entries, line_key(mark)] if marked else entries)
        return as_svg(figure)


def _bars(axes: Any, names: Sequence[str], panel: Panel, color: str, shades: Sequence[float]) -> None:
    axes.yaxis.grid(False)
    title(axes, panel.title)
    height = 0.84 / len(shades)
    for number, values in enumerate(panel.values):
        for row, name in enumerate(names):
            if name not in values:
                continue
            place, value = row - 0.42 + height * (number + 0.5), 100 * values[name]
            axes.barh(place, value, height * 0.86, color=color, alpha=shades[number], linewidth=0)
            mark = 100 * panel.marks[name] if name in panel.marks and number == len(shades) - 1 else None
            # A number that the mark would strike through stands inside the bar; behind the mark it would be taken for
            # the mark's.
            inside = mark is not None and value > _ROOM and -2 < mark - value < _ROOM
            where: dict[str, Any] = {"ha": "right", "color": "black"} if inside else {"ha": "left", "color": MUTED}
            at = min(value, mark) - 1.5 if inside and mark is not None else value + 1
            axes.text(at, place, f"{value:.0f}", va="center_baseline", fontsize=7.5, **where)
    for row, name in enumerate(names):
        if name in panel.marks:
            at = 100 * panel.marks[name]
            axes.plot([at, at], [row + 0.42 - height, row + 0.45], color=INK, linewidth=2, zorder=4)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
