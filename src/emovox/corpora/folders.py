"""People's own recordings in a folder per emotion: ``angry/a.wav``, or ``anna/angry/a.wav`` with the speaker above."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable
from pathlib import Path

from emovox.emotions import normalise

_NUMBER = re.compile(r"^\d+[\s._-]*")
_PARTS_OF_A_SPLIT = frozenset(
    ("train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation")
)


def rows(
    root: Path, files: Iterable[Path], *, speakers: bool = True, known: Container[str] = ()
) -> tuple[list[dict[str, object]], list[Path]]:
    """Read what the folders above each file say.

    The nearest folder that is called like an emotion gives it; a number before the name (``03_sad``) does not matter.
    A single folder between `root` and that one, other than ``train``, ``test`` and the like, is the speaker, if there
    are several of them: a single one is more likely the name of the data. Folders beside those of emotions are labels
    that emovox has no name for.

    Args:
        root: the folder that was asked for; its own name says nothing.
        files: recordings below it.
        speakers: whether folders may be speakers; in a mix of corpora they may as well be corpora.
        known: names that these recordings must not be called by, those of published corpora.

    Returns:
        Manifest rows, and the files that lie in no folder of an emotion.
    """
    corpus = slug(root.name)
    corpus = f"own-{corpus}" if corpus in known else corpus
    placed = [(file, file.relative_to(root).parts[:-1]) for file in files]
    depths = [_depth(parts) for _, parts in placed]
    beside = {parts[:depth] for (_, parts), depth in zip(placed, depths, strict=True) if depth is not None}
    persons = {person for above in beside if (person := _person(above))} if speakers else set()
    found: list[dict[str, object]] = []
    unknown: list[Path] = []
    for (file, parts), depth in zip(placed, depths, strict=True):
        place = depth
        if place is None:
            place = next((n for n in reversed(range(len(parts))) if parts[:n] in beside), None)
        if place is None:
            unknown.append(file)
        else:
            person = _person(parts[:place]) if len(persons) > 1 else ""
            label = _label(parts[place])
            found.append(
                {
                    "path": str(file),
                    "corpus": corpus,
                    "speaker": f"{corpus}-{person}" if person else "",
                    "emotion": normalise(label) or "",
                    "native_label": label,
                }
            )
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
    return next((place for place in reversed(range(len(parts))) if normalise(_label(parts[place]))), None)


def _label(folder: str) -> str:
    """Name of a folder without a number before it."""
    name = unicodedata.normalize("NFC", folder)
    return _NUMBER.sub("", name) or name


def _person(above: tuple[str, ...]) -> str:
    """The single folder that is no part of a split; empty if there is none, or more than one."""
    names = [part for part in above if part.lower() not in _PARTS_OF_A_SPLIT]
    return names[0] if len(names) == 1 else ""
