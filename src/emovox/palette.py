"""One colour for each emotion, in every table, picture and page.

The hues are those of Okabe and Ito, "Color Universal Design" (2008), which people with any kind of colour vision can
tell apart. A colour never stands alone: the emotion's name is always beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

COLOURS: Mapping[str, str] = {
    "angry": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happy": "#E69F00",
    "neutral": "#999999",
    "sad": "#0072B2",
    "surprise": "#56B4E9",
    "calm": "#F0E442",
    "boredom": "#8C6D31",
}
"""Emotion and its colour as ``#RRGGBB``. Boredom is a brown of our own: the palette's eighth colour is black."""

OTHER = "#7F7F7F"
"""Colour of labels that are not in `COLOURS`."""


def colour(label: str) -> str:
    """Give the colour of a label.

    Example:
        >>> colour("angry"), colour("puzzled")
        ('#D55E00', '#7F7F7F')
    """
    return COLOURS.get(label, OTHER)
