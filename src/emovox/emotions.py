"""The one vocabulary: seven emotions in one order, and the table that maps corpora's own labels to it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from emovox.errors import ParameterError

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""The seven emotions, in the order of every probability vector, table and picture."""

BEYOND_SEVEN = ("calm", "boredom")
"""Emotions that corpora label but that have no place among the seven."""

LABEL_SETS: Mapping[str, tuple[str, ...]] = {
    "seven": EMOTIONS,
    "ravdess8": ("angry", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    "emodb7": ("angry", "boredom", "disgust", "fear", "happy", "neutral", "sad"),
    "esd5": ("angry", "happy", "neutral", "sad", "surprise"),
}
"""Label sets by name; any other one is written as a comma-separated list."""

_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "angry": ("angry", "anger", "ang", "wut", "rabbia", "arrabbiato", "ärger", "aerger"),
    "disgust": ("disgust", "disgusted", "dis", "ekel", "disgusto"),
    "fear": ("fear", "fearful", "fea", "anxiety", "anxious", "afraid", "scared", "angst", "paura"),
    "happy": ("happy", "happiness", "hap", "joy", "joyful", "freude", "gioia"),
    "neutral": ("neutral", "neu", "neutrality", "neutrale"),
    "sad": ("sad", "sadness", "trauer", "tristezza"),
    "surprise": (
        "surprise",
        "surprised",
        "sur",
        "ps",
        "pleasant surprise",
        "pleasant surprised",
        "sorpresa",
    ),
    "calm": ("calm", "calmness"),
    "boredom": ("boredom", "bored", "langeweile"),
}
_BY_SPELLING = {spelling: emotion for emotion, all_of in _SPELLINGS.items() for spelling in all_of}


def normalise(native_label: str) -> str | None:
    """Give emovox's name for a label as corpora and people spell it.

    Case, surrounding blanks, hyphens and underscores do not matter.

    Returns:
        One of `EMOTIONS` or `BEYOND_SEVEN`, or None for a label that the table does not know.

    Example:
        >>> normalise("Pleasant_Surprise"), normalise("Wut"), normalise("bored"), normalise("xyz")
        ('surprise', 'angry', 'boredom', None)
    """
    # A folder that macOS names "Ärger" has its dots as a character of their own.
    text = unicodedata.normalize("NFC", native_label).lower()
    return _BY_SPELLING.get(" ".join(text.replace("_", " ").replace("-", " ").split()))


def parse_label_set(text: str) -> tuple[str, ...]:
    """Read a label set from its name or from a comma-separated list; the order is always the canonical one.

    Raises:
        ParameterError: if a label is unknown, repeated, or fewer than two remain.

    Example:
        >>> parse_label_set("sad,angry")
        ('angry', 'sad')
        >>> len(parse_label_set("ravdess8"))
        8
    """
    if text in LABEL_SETS:
        return LABEL_SETS[text]
    parts = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in parts if normalise(part) is None]
    if unknown:
        raise ParameterError(
            f"unknown emotion or label set {', '.join(map(repr, unknown))}",
            remedy=f"Use {', '.join(LABEL_SETS)} or a list of {', '.join(sorted((*EMOTIONS, *BEYOND_SEVEN)))}.",
        )
    labels = [label for part in parts if (label := normalise(part))]
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise ParameterError(
            f"a label set needs two or more different labels, got {text!r}", remedy="Separate them with commas."
        )
    return tuple(sorted(labels))


def parse_mapping(items: Iterable[str]) -> dict[str, str]:
    """Read what a user wants labels to be counted as, from items such as ``calm=neutral``.

    Raises:
        ParameterError: if an item has no ``=`` or names an unknown emotion, or two items contradict each other.

    Example:
        >>> parse_mapping(["calm=neutral", "boredom=sad"])
        {'calm': 'neutral', 'boredom': 'sad'}
    """
    mapping: dict[str, str] = {}
    for item in items:
        source, separator, target = (part.strip() for part in item.partition("="))
        emotion = normalise(source)
        goal = normalise(target)
        if not separator or emotion is None or goal is None:
            raise ParameterError(f"cannot read the mapping {item!r}", remedy="Write it as calm=neutral.")
        if mapping.get(emotion, goal) != goal:
            raise ParameterError(f"{emotion} is mapped to {mapping[emotion]} and to {goal}", remedy="Give it once.")
        mapping[emotion] = goal
    return mapping
