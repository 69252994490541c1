"""Differences between models with their intervals, a row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emovox.evaluation.figures import INK, as_svg
from emovox.evaluation.significance import Comparison
from emovox.studies.report.pictures.style import look, page_style, panels, title

Series = Mapping[str, Mapping[str, Comparison]]


def differences_picture(rows: Sequence[str], of_panel: Mapping[str, Series]) -> str:
    """Draw differences in UAR around zero.

    Args:
        rows: names from top to bottom.
        of_panel: title of a panel -> name of a series -> row -> difference; rows without one stay empty. A panel of
            one series has a colour of its own; several series of a panel have the page's colours in their order.

    Returns:
        An ``<svg>`` element. Marks are filled where models differ.
    """
    most = max((len(series) for series in of_panel.values()), default=1)
    with page_style():
        figure, axes = panels(1, len(of_panel), 0.9 + len(rows) * (0.2 + 0.07 * most), sharey=True)
        for place, (panel, (name, series)) in enumerate(zip(axes[0], of_panel.items(), strict=True)):
            title(panel, name)
            panel.axvline(0, color=INK, linewidth=1)
            step = 0.7 / len(series)
            for number, comparisons in enumerate(series.values()):
                color, marker = look(number if len(series) > 1 else place)
                for row, label in enumerate(rows):
                    if label not in comparisons:
                        continue
                    one = comparisons[label]
                    at = row - 0.35 + step * (number + 0.5)
                    panel.plot([100 * one.low, 100 * one.high], [at, at], color=color, linewidth=1.2)
                    face = color if one.different else "none"
                    panel.plot(100 * one.difference, at, marker, color=color, markerfacecolor=face, markersize=5)
            panel.set_xlabel("points of UAR")
        axes[0, 0].set_yticks(range(len(rows)), list(rows), fontsize=9)
        axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
        return as_svg(figure)
