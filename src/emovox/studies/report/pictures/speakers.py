"""Every speaker as a mark, so that one sees how far people lie apart: by model, or by corpus and model.

`speaker_rows` has a row for each model, in it a lane for each corpus, and one median for all: it tells how the models
stand to each other. `speaker_strip` has a row for each corpus, in it a lane for each model, and a median for each lane:
it tells how corpora stand to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emovox.evaluation.figures import INK, MUTED, as_svg
from emovox.studies.report.pictures.marks import band, dot_key, guessing, key, line_key, shape
from emovox.studies.report.pictures.style import DASHED, look, page_style, panels

_FIRST = 3
"""Series colour of the first corpus in `speaker_rows`, from 0: those before stand for protocols throughout."""

Recalls = Mapping[str, Mapping[str, Sequence[float]]]


def speaker_rows(rows: Recalls, *, label: str, chance: float) -> str:
    """Draw a row for each model with a point for each speaker, and a line at the median of the row.

    Args:
        rows: model -> corpus -> UAR of each speaker, in [0, 1].
        label: of the axis.
        chance: UAR of guessing, in [0, 1].

    Returns:
        An ``<svg>`` element.
    """
    groups = list(dict.fromkeys(name for values in rows.values() for name in values))
    with page_style():
        figure, grid = panels(1, 1, 1.25 + 0.46 * len(rows), close=True)
        axes = grid[0, 0]
        axes.yaxis.grid(False)
        for row, values in enumerate(rows.values()):
            if row % 2 == 0:
                band(axes, row)
            for number, name in enumerate(groups):
                ordered = np.sort(100 * np.asarray(values.get(name, ()), dtype=float))
                lane = row + (number - (len(groups) - 1) / 2) * 0.7 / len(groups)
                # Neighbours lie a little apart, so that equal values can be counted.
                places = lane + np.resize([-0.06, 0.06], len(ordered))
                axes.plot(ordered, places, linestyle="", alpha=0.8, **shape(_FIRST + number))
            median = float(np.median(np.concatenate([100 * np.asarray(one, dtype=float) for one in values.values()])))
            axes.plot([median, median], [row - 0.42, row + 0.42], color=INK, linewidth=1.8)
        guessing(axes, chance, list(range(len(rows))))
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(-2, 102)
        axes.set_xlabel(label)
        key(figure, [*(dot_key(_FIRST + number, name) for number, name in enumerate(groups)), line_key("median")])
        return as_svg(figure)


def speaker_strip(strips: Recalls, *, chance: float) -> str:
    """Draw a row for each corpus and in it a lane for each model, with a mark for each speaker.

    Args:
        strips: corpus -> model -> UAR of each speaker, in [0, 1]; models in the order of the page's colours.
        chance: UAR of guessing, in [0, 1].

    Returns:
        An ``<svg>`` element.
    """
    models = list(dict.fromkeys(model for of_corpus in strips.values() for model in of_corpus))
    step = 0.8 / max(1, len(models))
    with page_style():
        figure, axes = panels(1, 1, 0.8 + 0.32 * len(strips) * len(models))
        panel = axes[0, 0]
        panel.axvline(100 * chance, **DASHED)
        for row, of_corpus in enumerate(strips.values()):
            for model, values in of_corpus.items():
                number = models.index(model)
                color, marker = look(number)
                place = row - 0.4 + step * (number + 0.5)
                shares = 100 * np.asarray(values)
                panel.plot(shares, np.full(len(shares), place), marker, color=color, markersize=6, alpha=0.6, mew=0)
                middle = float(np.median(shares))
                panel.plot([middle, middle], [place - 0.4 * step, place + 0.4 * step], color=INK, linewidth=1.4)
        for row in range(1, len(strips)):
            panel.axhline(row - 0.5, color=MUTED, linewidth=0.3)
        panel.set_yticks(range(len(strips)), list(strips))
        panel.set_ylim(len(strips) - 0.5, -0.5)
        panel.yaxis.grid(False)
        panel.set_xlim(-2, 102)
        panel.set_xlabel("UAR of a speaker, per cent")
        return as_svg(figure)
