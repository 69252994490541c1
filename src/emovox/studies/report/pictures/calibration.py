"""Reliability diagrams, a small panel for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emovox.evaluation.calibration import Bin, reliability
from emovox.evaluation.figures import as_svg
from emovox.evaluation.metrics import Labels, ece
from emovox.studies.report.pictures.style import DASHED, close_grid, look, page_style, panels, title

_COLUMNS = 3
FEWEST_CLIPS = 10
"""Bins of fewer clips are not drawn: one clip that is right would lie at 100 per cent."""

_LARGEST = 130.0
"""Area of the dot of a bin that holds all clips, in square points."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """A curve of a diagram.

    Attributes:
        bins: from unsure to sure.
        ece: expected calibration error.
    """

    bins: Sequence[Bin]
    ece: float

    @classmethod
    def of(cls, truth: Labels, probabilities: npt.NDArray[Any], labels: Sequence[str]) -> Self:
        """Measure probabilities, shape (n, k)."""
        return cls(bins=reliability(truth, probabilities, labels), ece=ece(truth, probabilities, labels))


def reliability_diagrams(models: Mapping[str, Sequence[Reliability]]) -> str:
    """Draw a panel for each model, its curves in the page's colours in their order.

    Returns:
        An ``<svg>`` element.
    """
    rows = -(-len(models) // _COLUMNS)
    columns = min(_COLUMNS, len(models))
    with page_style():
        figure, axes = panels(rows, columns, 0.4 + 3.1 * rows * 3 / max(columns, 2), sharex=True, sharey=True)
        for panel, (name, curves) in zip(axes.flat, models.items(), strict=False):
            title(panel, name)
            panel.plot([0, 100], [0, 100], **DASHED)
            for number, curve in enumerate(curves):
                _draw(panel, curve, number)
            panel.set_xlim(0, 100)
            panel.set_ylim(0, 100)
            panel.set_aspect("equal")
        for panel in axes[:, 0]:
            panel.set_ylabel("right, per cent")
        close_grid(axes, len(models), "confidence, per cent")
        return as_svg(figure)


def _draw(panel: Any, curve: Reliability, number: int) -> None:
    color, marker = look(number)
    confidence, accuracy, share = (
        np.array([getattr(one, name) for one in curve.bins if one.clips >= FEWEST_CLIPS])
        for name in ("confidence", "accuracy", "share")
    )
    panel.plot(100 * confidence, 100 * accuracy, color=color, linewidth=1.2)
    panel.scatter(100 * confidence, 100 * accuracy, s=12 + _LARGEST * share, color=color, marker=marker, linewidths=0)
    panel.text(4, 93 - 9 * number, f"ECE {curve.ece:.3f}", color=color, fontsize=10, va="center")
