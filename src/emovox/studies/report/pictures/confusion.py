"""A confusion matrix in clips and in per cent, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emovox.evaluation.figures import INK, SERIES, as_svg
from emovox.evaluation.metrics import Counts, normalised
from emovox.studies.report.pictures.style import page_style, panels, title

_RIGHT, _WRONG = SERIES[1], SERIES[4]
_DEEPEST = 0.7
"""Opacity of a field that holds a whole row: letters stay readable on it."""


def confusion_picture(matrix: Counts, labels: Sequence[str]) -> str:
    """Draw a confusion matrix twice: as counts and with rows adding up to 100 per cent.

    Args:
        matrix: counts, shape (k, k), the truth in rows.
        labels: their names.

    Returns:
        An ``<svg>`` element; the diagonal has the page's second colour, the rest its fifth, deeper for larger shares
        of the row.
    """
    shares = normalised(matrix)
    with page_style():
        figure, axes = panels(1, 2, 4.9)
        for panel, name in zip(axes[0], ("clips", "per cent of the clips spoken so"), strict=True):
            title(panel, name)
            for row in range(len(labels)):
                for column in range(len(labels)):
                    share = float(shares[row, column])
                    text = f"{matrix[row, column]:,}" if name == "clips" else f"{100 * share:.1f}"
                    _field(panel, row, column, share, text)
            panel.grid(False)
            panel.set_xlim(-0.5, len(labels) - 0.5)
            panel.set_ylim(len(labels) - 0.5, -0.5)
            panel.set_aspect("equal")
            panel.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
            panel.set_yticks(range(len(labels)), labels)
            panel.set_xlabel("taken for")
        axes[0, 0].set_ylabel("spoken")
        return as_svg(figure)


def _field(panel: Any, row: int, column: int, share: float, text: str) -> None:
    from matplotlib.patches import Rectangle

    color = _RIGHT if row == column else _WRONG
    field = Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, linewidth=0, facecolor=color, alpha=_DEEPEST * share)
    panel.add_patch(field)
    panel.text(column, row, text, ha="center", va="center", color=INK, fontsize=9)
