"""How models fare under conditions: lines over the strength of noise, dots for what has no common scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emovox.evaluation.figures import INK, MUTED, as_svg
from emovox.studies.report.pictures.marks import Point
from emovox.studies.report.pictures.style import DASHED, look, page_style, panels, title

Models = Mapping[str, Mapping[str, Point]]


def noise_lines(
    clean: Mapping[str, Point], models: Models, noises: Mapping[str, Mapping[str, str]], *, chance: float
) -> str:
    """Draw a panel for each noise: UAR from clean to the strongest, a line for each model.

    Args:
        clean: model -> as recorded.
        models: model -> condition -> figure; colours in their order.
        noises: name of the noise -> strength, mild before strong -> condition.
        chance: UAR of guessing, in [0, 1].

    Returns:
        An ``<svg>`` element.
    """
    with page_style():
        figure, axes = panels(1, len(noises), 3.4, sharey=True)
        for panel, (noise, levels) in zip(axes[0], noises.items(), strict=True):
            title(panel, noise)
            panel.axhline(100 * chance, **DASHED)
            for number, (model, conditions) in enumerate(models.items()):
                found = [clean[model], *(conditions.get(name) for name in levels.values())]
                _line(panel, found, number, len(models))
            panel.set_xticks(range(len(levels) + 1), ["none", *(level.removesuffix(" dB") for level in levels)])
            panel.xaxis.grid(False)
            panel.set_xlabel("SNR, dB")
            panel.tick_params(axis="x", pad=7)
            panel.set_ylim(bottom=0)
        axes[0, 0].set_ylabel("UAR, per cent")
        return as_svg(figure)


def other_dots(clean: Mapping[str, Point], models: Models, conditions: Mapping[str, str], *, chance: float) -> str:
    """Draw a row for each condition, in it a dot for each model.

    Args:
        clean, models, chance: as for `noise_lines`.
        conditions: name for people -> condition.

    Returns:
        An ``<svg>`` element.
    """
    step = 0.8 / max(1, len(models))
    with page_style():
        figure, axes = panels(1, 1, 0.7 + len(conditions) * max(0.42, 0.15 * len(models)))
        panel = axes[0, 0]
        panel.axvline(100 * chance, **DASHED)
        for row, name in enumerate(conditions.values()):
            for number, (model, found) in enumerate(models.items()):
                place = row - 0.4 + step * (number + 0.5)
                color, marker = look(number)
                panel.plot(100 * clean[model].value, place, marker, color=color, markerfacecolor="none", markersize=5)
                if name not in found:
                    continue
                one = found[name]
                ends = [100 * one.interval.low, 100 * one.interval.high]
                panel.plot(ends, [place, place], color=color, linewidth=1.2)
                panel.plot(100 * one.value, place, marker, color=color, markersize=6)
        for row in range(1, len(conditions)):
            panel.axhline(row - 0.5, color=MUTED, linewidth=0.3)
        panel.set_yticks(range(len(conditions)), list(conditions), color=INK)
        panel.set_ylim(len(conditions) - 0.5, -0.5)
        panel.yaxis.grid(False)
        panel.set_xlim(left=0)
        panel.set_xlabel("UAR, per cent")
        return as_svg(figure)


def _line(panel: Any, found: Sequence[Point | None], number: int, models: int) -> None:
    color, marker = look(number)
    # Beside each other, so that no interval hides another.
    aside = 0.08 * (number - (models - 1) / 2)
    known = [(place + aside, one) for place, one in enumerate(found) if one is not None]
    places = [place for place, _ in known]
    panel.plot(places, [100 * one.value for _, one in known], marker + "-", color=color, markersize=5, linewidth=1.5)
    for place, one in known:
        panel.plot([place, place], [100 * one.interval.low, 100 * one.interval.high], color=color, linewidth=0.9)
