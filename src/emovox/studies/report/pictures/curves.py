"""Learning curves, a small panel for each training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from emovox.evaluation.figures import as_svg
from emovox.studies.report.pictures.style import close_grid, look, page_style, panels, title

_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class Curves:
    """One training, a number an epoch.

    Attributes:
        loss, accuracy: on the rows that were fitted.
        val_loss, val_accuracy: on validation rows; empty without any.
        best_epoch: counted from 1; None without validation rows.
    """

    loss: Sequence[float]
    accuracy: Sequence[float]
    val_loss: Sequence[float] = ()
    val_accuracy: Sequence[float] = ()
    best_epoch: int | None = None

    @classmethod
    def of(cls, history: Mapping[str, Any]) -> Self:
        """Take them from what a cell tells of its epochs."""
        return cls(
            loss=history["loss"],
            accuracy=history["accuracy"],
            val_loss=history.get("val_loss", ()),
            val_accuracy=history.get("val_accuracy", ()),
            best_epoch=history.get("best_epoch"),
        )


def learning_curves(trainings: Mapping[str, Mapping[str, Curves]], measure: Literal["loss", "accuracy"]) -> str:
    """Draw a panel for each name, with a colour for each way of training.

    Args:
        trainings: name of the panel -> way of training -> curves; the first way found has the page's first colour.
        measure: what is drawn; accuracy in per cent, loss on a logarithmic scale.

    Returns:
        An ``<svg>`` element.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    ways = list(dict.fromkeys(way for of_panel in trainings.values() for way in of_panel))
    rows = -(-len(trainings) // _COLUMNS)
    with page_style():
        figure, axes = panels(rows, min(_COLUMNS, len(trainings)), 0.5 + 1.9 * rows, sharex=True, sharey=True)
        for panel, (name, of_panel) in zip(axes.flat, trainings.items(), strict=False):
            title(panel, name)
            for way, curves in of_panel.items():
                _draw(panel, curves, measure, ways.index(way))
        close_grid(axes, len(trainings), "epoch")
        for panel in axes[:, 0]:
            panel.set_ylabel("accuracy, per cent" if measure == "accuracy" else "loss")
        if measure == "accuracy":
            axes[0, 0].set_ylim(0, 102)
        else:
            axes[0, 0].set_yscale("log")
            axes[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes[0, 0].yaxis.set_major_formatter("{x:g}")
            axes[0, 0].yaxis.set_minor_locator(NullLocator())
        return as_svg(figure)


def _draw(panel: Any, curves: Curves, measure: str, number: int) -> None:
    color, marker = look(number)
    factor = 100 if measure == "accuracy" else 1
    fitted, held_out = (factor * np.asarray(getattr(curves, name)) for name in (measure, f"val_{measure}"))
    panel.plot(np.arange(1, len(fitted) + 1), fitted, color=color, linewidth=1.1, linestyle=(0, (1, 1.4)))
    if not len(held_out):
        return
    panel.plot(np.arange(1, len(held_out) + 1), held_out, color=color, linewidth=1.5)
    if curves.best_epoch is not None:
        at = held_out[curves.best_epoch - 1]
        panel.plot(curves.best_epoch, at, marker, markersize=7, markerfacecolor="none", markeredgecolor=color)
