"""People's own recordings in a folder per emotion: ``angry/a.wav``, or ``anna/angry/a.wav`` with the speaker above."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from emovox.emotions import normalise

_PARTS_OF_A_SPLIT = frozenset(
    ("train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation")
)


def rows(root: Path, files: Iterable[Path]) -> tuple[list[dict[str, object]], list[Path]]:
    """Read what the folders above each file say.

    The nearest folder that is called like an emotion gives it. A single folder between `root` and that one, other
    than ``train``, ``test`` and the like, is the speaker. Folders beside those of emotions are labels that emovox
    has no name for.

    Args:
        root: the folder that was asked for; its own name says nothing.
        files: recordings below it.

    Returns:
        Manifest rows, and the files that lie in no folder of an emotion.
    """
    corpus = slug(root.name)
    placed = [(file, file.relative_to(root).parts[:-1]) for file in files]
    depths = [_depth(parts) for _, parts in placed]
    beside = {parts[:depth] for (_, parts), depth in zip(placed, depths, strict=True) if depth is not None}
    found: list[dict[str, object]] = []
    unknown: list[Path] = []
    for (file, parts), depth in zip(placed, depths, strict=True):
        place = depth
        if place is None:
            place = next((n for n in reversed(range(len(parts))) if parts[:n] in beside), None)
        if place is None:
            unknown.append(file)
        else:
            found.append(_row(corpus, file, parts, place))
    return found, unknown


def slug(name: str) -> str:
    """Make a corpus name from a folder's.

    Example:
        >>> slug("My Recordings (2)"), slug("")
        ('my-recordings-2', 'own')
    """
    return re.sub(r"\W+", "-", unicodedata.normalize("NFC", name).lower()).strip("-") or "own"


def _depth(parts: tuple[str, ...]) -> int | None:
    """Position of the last folder that is called like an emotion."""
    return next((place for place in reversed(range(len(parts))) if _emotion(parts[place])), None)


def _emotion(folder: str) -> str | None:
    return normalise(unicodedata.normalize("NFC", folder))


def _row(corpus: str, file: Path, parts: tuple[str, ...], depth: int) -> dict[str, object]:
    above = [part for part in parts[:depth] if part.lower() not in _PARTS_OF_A_SPLIT]
    return {
        "path": str(file),
        "corpus": corpus,
        "speaker": f"{corpus}-{above[0]}" if len(above) == 1 else "",
        "emotion": _emotion(parts[depth]) or "",
        "native_label": parts[depth],
    }
