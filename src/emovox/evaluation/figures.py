"""Pictures for reports: SVG that takes its colours from the page, so that it fits light and dark alike."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from emovox.evaluation.metrics import Interval

INK, MUTED, GRID = "#010101", "#020202", "#030303"
SERIES = tuple(f"#0400{number:02d}" for number in range(1, 7))
"""Stand-ins that are replaced by the page's own colours."""

_VARIABLES: Mapping[str, str] = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    **{color: f"var(--series-{number})" for number, color in enumerate(SERIES, start=1)},
}


def comparison(
    models: Sequence[str],
    series: Mapping[str, Mapping[str, tuple[float, Interval]]],
    *,
    chance: float,
) -> str:
    """Draw a bar for each model and protocol, with its interval.

    Args:
        models: names from top to bottom.
        series: protocol -> model -> (value, interval), all in [0, 1]; at most six protocols.
        chance: where guessing lies, in [0, 1].

    Returns:
        An ``<svg>`` element whose colours are the CSS variables ``--ink``, ``--muted``, ``--line`` and
        ``--series-1`` to ``--series-6``.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    height = 0.8 / max(1, len(series))
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "emovox", "font.family": "sans-serif", "font.size": 10}
    with mpl.rc_context(style):
        figure = Figure(figsize=(9, 1.0 + len(models) * max(0.34, 0.2 * len(series))), layout="constrained")
        axes = figure.subplots()
        for number, (protocol, values) in enumerate(series.items()):
            color = SERIES[number % len(SERIES)]
            for row, model in enumerate(models):
                if model not in values:
                    continue
                value, interval = values[model]
                place = row - 0.4 + height * (number + 0.5)
                axes.barh(place, 100 * value, height * 0.86, color=color, label=protocol, linewidth=0)
                axes.plot([100 * interval.low, 100 * interval.high], [place, place], color=INK, linewidth=1.1)
                end = max(100 * value, 100 * interval.high)
                axes.text(end + 0.8, place, f"{100 * value:.1f}", va="center", color=MUTED, fontsize=8)
        axes.axvline(100 * chance, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        axes.text(100 * chance + 0.6, -0.62, "chance", color=MUTED, fontsize=8, va="bottom")
        axes.set_yticks(range(len(models)), models)
        axes.set_ylim(len(models) - 0.45, -0.7)
        axes.set_xlim(0, 104)
        axes.set_xlabel("UAR, per cent", color=MUTED)
        axes.xaxis.grid(True, color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=INK, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return as_svg(figure)


def as_svg(figure: Any) -> str:
    """Give a matplotlib figure, drawn in the colours above, as an ``<svg>`` element in the page's colours.

    Args:
        figure: drawn with ``svg.fonttype`` ``none``, so that text stays text, and with a ``svg.hashsalt``, so that the
            same figure is always the same text.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    opening, _, rest = text[text.index("<svg") :].partition(">")
    # The page scales it: a fixed size would not fit a phone.
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    text = opening + ">" + re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    # A hundredth of a point is finer than any screen shows.
    return re.sub(r"<[^>]+>", lambda tag: re.sub(r"\d+\.\d{3,}", lambda one: f"{float(one[0]):.2f}", tag[0]), text)
