"""Points with intervals, a row a model: what models reach under several protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emovox.evaluation.figures import INK, MUTED, as_svg
from emovox.studies.report.pictures.marks import Point, band, guessing, key, line_key, shape
from emovox.studies.report.pictures.style import page_style, panels


@dataclass(frozen=True)
class Row:
    """A row of `points`.

    Attributes:
        name: at its left.
        points: by the number of the series, from 0.
        mark: another figure, in [0, 1], shown as a line.
    """

    name: str
    points: Mapping[int, Point]
    mark: float | None = None


def points(groups: Sequence[tuple[str, Sequence[Row]]], *, label: str, chance: float, mark: str = "") -> str:
    """Draw points with intervals, a row a model.

    Args:
        groups: title (empty for none) and rows of each group, from top to bottom.
        label: of the axis.
        chance: where guessing lies, in [0, 1].
        mark: what the rows' marks are.

    Returns:
        An ``<svg>`` element.
    """
    count = 1 + max((number for _, rows in groups for row in rows for number in row.points), default=0)
    lines = sum(len(rows) + (1 if heading else 0) for heading, rows in groups)
    marked = any(row.mark is not None for _, rows in groups for row in rows)
    height = 0.95 + lines * max(0.27, 0.125 * count) + (0.3 if marked else 0)
    with page_style():
        figure, grid = panels(1, 1, height, close=True)
        axes = grid[0, 0]
        axes.yaxis.grid(False)
        names: dict[int, str] = {}
        place = 0
        for heading, rows in groups:
            if heading:
                axes.text(0.6, place + 0.14, heading, color=MUTED, fontsize=9.5, va="center", fontweight="bold")
                place += 1
            for number, row in enumerate(rows):
                if number % 2 == 0:
                    band(axes, place)
                names[place] = row.name
                _row(axes, place, row, count)
                place += 1
        guessing(axes, chance, list(names))
        if marked:
            key(figure, [line_key(mark)])
        axes.set_yticks(list(names), list(names.values()))
        axes.set_ylim(place - 0.45, -0.55)
        axes.set_xlim(0, 101)
        axes.set_xlabel(label)
        return as_svg(figure)


def _row(axes: Any, place: float, row: Row, count: int) -> None:
    step = 0.64 / max(1, count - 1)
    for series, point in row.points.items():
        height = place + (series - (count - 1) / 2) * step
        style = shape(series)
        ends = [100 * point.interval.low, 100 * point.interval.high]
        axes.plot(ends, [height, height], color=style["color"], linewidth=2, alpha=0.5, zorder=2)
        axes.plot([100 * point.value], [height], zorder=3, **style)
    if row.mark is not None:
        axes.plot([100 * row.mark] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=1.8, zorder=4)
