"""TESS: an older (OAF) and a younger (YAF) woman say 200 words in a carrier phrase."""

from __future__ import annotations

import re
from pathlib import Path

from emovox.corpora import renamed
from emovox.corpora.base import Corpus, Edition, Utterance, same_for_all
from emovox.emotions import EMOTIONS, normalise

# The official release spells one name OA_bite_neutral.
_PATTERN = re.compile(r"(OAF?|YAF)_([a-z]+)_([a-z_ ]+)", re.IGNORECASE)
_RENAMED_SPEAKERS = ("25", "26")


def _read(name: str, path: Path) -> Utterance | None:
    del path
    match = _PATTERN.fullmatch(name)
    if match is not None:
        speaker = "YAF" if match[1].upper() == "YAF" else "OAF"
        return _utterance(speaker, match[2].lower(), normalise(match[3]), f"{speaker}-{match[2].lower()}")
    parts = renamed.split(name)
    if parts is None or parts.speaker not in _RENAMED_SPEAKERS or "-" in parts.text:
        return None
    return _utterance("", parts.text, parts.emotion, f"{parts.speaker}-{parts.text}")


def _utterance(speaker: str, word: str, emotion: str | None, key: str) -> Utterance | None:
    if emotion not in EMOTIONS:
        return None
    return Utterance(
        emotion=emotion,
        native_label="pleasant_surprise" if emotion == "surprise" else emotion,
        key=f"{key}-{emotion}",
        speaker=speaker,
        gender="female",
        sentence=word,
    )


TESS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set",
    language="en",
    licence="CC BY-NC-ND 4.0",
    url="https://doi.org/10.5683/SP2/E8H2MF",
    layout="OAF_angry/OAF_back_angry.wav",
    editions=(
        Edition(name="all", clips=2800, emotions=same_for_all(" ".join(EMOTIONS), 400), speakers=("OAF", "YAF")),
    ),
    read=_read,
)
