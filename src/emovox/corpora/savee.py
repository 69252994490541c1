"""SAVEE: four men say English sentences."""

from __future__ import annotations

import re
from pathlib import Path

from emovox.corpora.base import Corpus, Edition, FileNameError, Utterance, same_for_all
from emovox.emotions import EMOTIONS, normalise

_PATTERN = re.compile(r"(?:(DC|JE|JK|KL)_)?(sa|su|a|d|f|h|n)(\d\d)", re.IGNORECASE)
_LABELS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
_SPEAKERS = ("DC", "JE", "JK", "KL")
_TEXTS, _NEUTRAL_TEXTS = 15, 30


def _read(name: str, path: Path) -> Utterance | None:
    match = _PATTERN.fullmatch(name)
    speaker = ((match and match[1]) or path.parent.name).upper()
    if match is None or speaker not in _SPEAKERS:
        return None
    code, number = match[2].lower(), int(match[3])
    last = _NEUTRAL_TEXTS if code == "n" else _TEXTS
    if not 1 <= number <= last:
        raise FileNameError(f"SAVEE numbers this emotion's texts 01 to {last}, not {number:02}", path=path)
    return Utterance(
        emotion=normalise(_LABELS[code]) or "",
        native_label=_LABELS[code],
        key=f"{speaker}-{code}{number:02}",
        speaker=speaker,
        gender="male",
        sentence=f"{code}{number:02}",
    )


SAVEE = Corpus(
    name="savee",
    title="Surrey Audio-Visual Expressed Emotion",
    language="en",
    licence="research, after registration",
    url="http://kahlan.eps.surrey.ac.uk/savee",
    layout="DC/a01.wav or DC_a01.wav",
    editions=(
        Edition(name="all", clips=480, emotions=same_for_all(" ".join(EMOTIONS), 60, neutral=120), speakers=_SPEAKERS),
    ),
    read=_read,
)
