"""Single speakers as marks on a line, so that one sees how far they lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emovox.evaluation.figures import INK, MUTED, SERIES, as_svg
from emovox.studies.report.panels import MARKERS, page_style, panels


def speaker_strip(strips: Mapping[str, Mapping[str, Sequence[float]]], *, chance: float) -> str:
    """Draw a row for each corpus and model with a mark for each speaker.

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
        panel.axvline(100 * chance, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        for row, of_corpus in enumerate(strips.values()):
            for model, values in of_corpus.items():
                number = models.index(model)
                color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
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
        panel.set_xlim(0, 100)
        panel.set_xlabel("UAR of a speaker, per cent")
        return as_svg(figure)
