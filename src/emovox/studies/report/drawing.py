"""Pictures that several sections use: points with intervals, grouped bars, and a spread of points a row.

All take their colours from the page, see `emovox.evaluation.figures`. Series are told apart by shape as well as colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from emovox.evaluation.figures import GRID, INK, MUTED, SERIES, as_svg
from emovox.studies.report.panels import MARKERS, WIDTH, clear, page_style, title

SHAPE_NAMES = ("circle", "square", "triangle", "diamond", "triangle pointing down", "cross")
_SIZES = (5.8, 5.4, 6.4, 5.2, 6.4, 6.6)
"""Widths at which the shapes look equally large."""

Draw: TypeAlias = Callable[[Any], None]


def picture(draw: Draw, *, height: float) -> str:
    """Let something be drawn on an empty `matplotlib.figure.Figure`, and give it as an ``<svg>`` element.

    Args:
        draw: is called with the figure.
        height: in inches.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Names are text, whatever stands in them.
    with page_style(), mpl.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        return as_svg(figure)


@dataclass(frozen=True)
class Point:
    """A value and its 95 % interval, all in per cent."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """A row of `points`.

    Attributes:
        name: at its left.
        points: by the number of the series, from 0.
        mark: another figure, in per cent, shown as a line.
    """

    name: str
    points: Mapping[int, Point]
    mark: float | None = None


def points(
    groups: Sequence[tuple[str, Sequence[Row]]], *, label: str, chance: float | None = None, mark: str = ""
) -> str:
    """Draw points with intervals, a row a model.

    Args:
        groups: title (empty for none) and rows of each group, from top to bottom.
        label: of the axis.
        chance: where guessing lies, in per cent.
        mark: what the rows' marks are.
    """
    count = 1 + max((number for _, rows in groups for row in rows for number in row.points), default=0)
    lines = sum(len(rows) + (1 if heading else 0) for heading, rows in groups)
    marked = any(row.mark is not None for _, rows in groups for row in rows)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        clear(axes)
        axes.yaxis.grid(False)
        names: dict[int, str] = {}
        place = 0
        for heading, rows in groups:
            if heading:
                axes.text(0.6, place + 0.14, heading, color=MUTED, fontsize=9.5, va="center", fontweight="bold")
                place += 1
            for number, row in enumerate(rows):
                if number % 2 == 0:
                    _band(axes, place)
                names[place] = row.name
                _row(axes, place, row, count)
                place += 1
        _chance(axes, chance, list(names))
        if marked:
            _key(figure, [(_line(), mark)])
        axes.set_yticks(list(names), list(names.values()))
        axes.set_ylim(place - 0.45, -0.55)
        axes.set_xlim(0, 101)
        axes.set_xlabel(label)

    return picture(draw, height=0.95 + lines * max(0.27, 0.125 * count) + (0.3 if marked else 0))


def _row(axes: Any, place: float, row: Row, count: int) -> None:
    step = 0.64 / max(1, count - 1)
    for series, point in row.points.items():
        height = place + (series - (count - 1) / 2) * step
        color = SERIES[series % len(SERIES)]
        axes.plot([point.low, point.high], [height, height], color=color, linewidth=2, alpha=0.5, zorder=2)
        axes.plot([point.value], [height], color=color, zorder=3, **_shape(series))
    if row.mark is not None:
        axes.plot([row.mark, row.mark], [place - 0.4, place + 0.4], color=INK, linewidth=1.8, zorder=4)


@dataclass(frozen=True)
class Panel:
    """One of the panels of `bars`.

    Attributes:
        title: above it.
        values: by series and by name of the row, in per cent.
        marks: by name of the row another figure, in per cent, shown as a line.
    """

    title: str
    values: Sequence[Mapping[str, float]]
    marks: Mapping[str, float]


def bars(
    names: Sequence[str], panels: Sequence[Sequence[Panel]], series: Sequence[str], *, color: int, mark: str = ""
) -> str:
    """Draw grouped bars in a grid of panels that share their rows, from faint to full in one colour.

    Args:
        names: rows from top to bottom.
        panels: rows of panels.
        series: what the bars of a row are, from the faintest to the fullest.
        color: number of the page's series colour, from 0.
        mark: what marks in panels stand for.
    """
    shades = [float(shade) for shade in np.linspace(0.3, 1, len(series))]
    marked = any(panel.marks for line in panels for panel in line)

    def draw(figure: Any) -> None:
        from matplotlib.patches import Patch

        grid = figure.subplots(len(panels), len(panels[0]), sharex=True, sharey=True, squeeze=False)
        for axes, panel in zip(grid.flat, [panel for line in panels for panel in line], strict=True):
            _bars(axes, names, panel, SERIES[color], shades)
        for axes in grid[-1]:
            axes.set_xlabel("per cent")
        key = [
            (Patch(color=SERIES[color], alpha=shade, linewidth=0), name)
            for shade, name in zip(shades, series, strict=True)
        ]
        _key(figure, [*key, (_line(), mark)] if marked else key)

    return picture(draw, height=1.0 + len(panels) * (0.5 + 0.36 * len(names)))


def _bars(axes: Any, names: Sequence[str], panel: Panel, color: str, shades: Sequence[float]) -> None:
    clear(axes)
    axes.yaxis.grid(False)
    title(axes, panel.title)
    height = 0.84 / len(shades)
    for number, values in enumerate(panel.values):
        for row, name in enumerate(names):
            if name not in values:
                continue
            place = row - 0.42 + height * (number + 0.5)
            axes.barh(place, values[name], height * 0.86, color=color, alpha=shades[number], linewidth=0)
            mark = panel.marks.get(name) if number == len(shades) - 1 else None
            hidden = mark is not None and -2 < mark - values[name] < 8
            at = (mark if mark is not None and hidden else values[name]) + 1
            axes.text(at, place, f"{values[name]:.0f}", va="center_baseline", color=MUTED, fontsize=7.5)
    for row, name in enumerate(names):
        if name in panel.marks:
            at = panel.marks[name]
            axes.plot([at, at], [row + 0.42 - height, row + 0.45], color=INK, linewidth=2, zorder=4)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))


def spread(rows: Mapping[str, Mapping[str, Sequence[float]]], *, label: str, chance: float, first: int = 3) -> str:
    """Draw every value of each row as a point, and a line at the median of the row.

    Args:
        rows: by the name of the row its values, in per cent, by the name of a group.
        label: of the axis.
        chance: where guessing lies, in per cent.
        first: number of the page's series colour of the first group, from 0.
    """
    groups = list(dict.fromkeys(name for values in rows.values() for name in values))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        clear(axes)
        axes.yaxis.grid(False)
        for row, values in enumerate(rows.values()):
            if row % 2 == 0:
                _band(axes, row)
            for number, name in enumerate(groups):
                ordered = np.sort(np.asarray(values.get(name, ()), dtype=float))
                lane = row + (number - (len(groups) - 1) / 2) * 0.7 / len(groups)
                # Neighbours lie a little apart, so that equal values can be counted.
                places = lane + np.resize([-0.06, 0.06], len(ordered))
                style = _shape(first + number) | {"linestyle": "", "alpha": 0.8}
                axes.plot(ordered, places, color=SERIES[(first + number) % len(SERIES)], **style)
            median = float(np.median(np.concatenate([np.asarray(one, dtype=float) for one in values.values()])))
            axes.plot([median, median], [row - 0.42, row + 0.42], color=INK, linewidth=1.8)
        _chance(axes, chance, list(range(len(rows))))
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(-2, 102)
        axes.set_xlabel(label)
        _key(figure, [*(_dot(first + number, name) for number, name in enumerate(groups)), (_line(), "median")])

    return picture(draw, height=1.25 + 0.46 * len(rows))


def _shape(series: int) -> dict[str, Any]:
    number = series % len(MARKERS)
    return {"marker": MARKERS[number], "markersize": _SIZES[number], "markeredgewidth": 0}


def _band(axes: Any, place: float) -> None:
    axes.axhspan(place - 0.5, place + 0.5, color=GRID, alpha=0.35, linewidth=0, zorder=0)


def _chance(axes: Any, chance: float | None, places: Sequence[int]) -> None:
    """Mark where guessing lies, in rows but not across the headings between them."""
    if chance is not None:
        ends = [[place - 0.5 for place in places], [place + 0.5 for place in places]]
        axes.plot([[chance] * len(places)] * 2, ends, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        above = axes.get_xaxis_transform()
        axes.text(chance, 1.0, "guessing", color=MUTED, fontsize=9, va="bottom", ha="center", transform=above)


def _dot(series: int, name: str) -> tuple[Any, str]:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=SERIES[series % len(SERIES)], linestyle="", **_shape(series)), name


def _line() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=INK, linestyle="", marker="|", markersize=10, markeredgewidth=1.8)


def _key(figure: Any, entries: Sequence[tuple[Any, str]]) -> None:
    handles, names = zip(*entries, strict=True)
    figure.legend(
        handles, names, loc="outside upper left", ncols=len(names), frameon=False, labelcolor=INK, handletextpad=0.4
    )
