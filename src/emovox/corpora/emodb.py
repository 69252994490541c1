"""EmoDB, the Berlin Database of Emotional Speech: ten actors say ten German sentences."""

from __future__ import annotations

import re
from pathlib import Path

from emovox.corpora.base import Corpus, Edition, FileNameError, Utterance
from emovox.emotions import normalise

# Speaker, text, emotion (first letter of the German word), version.
_PATTERN = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]?)", re.IGNORECASE)
# The reference study writes a letter, then speaker and text, then the emotion as a word: a03b02_happy.
_RENAMED = re.compile(r"[a-z]?(\d\d)([ab]\d\d)_([a-z]+)", re.IGNORECASE)
_LABELS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
_BY_EMOTION = {normalise(label): label for label in _LABELS.values()}
_GENDERS = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
_TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")


def _read(name: str, path: Path) -> Utterance | None:
    match = _PATTERN.fullmatch(name)
    if match is None:
        return _read_renamed(name)
    speaker, text = match[1], match[2].lower()
    if speaker not in _GENDERS or text not in _TEXTS:
        what = f"speaker {speaker}" if speaker not in _GENDERS else f"text {text}"
        raise FileNameError(f"EmoDB has no {what}", path=path, remedy="Rename it or leave it out.")
    label = _LABELS[match[3].upper()]
    return _utterance(speaker, text, label, f"{speaker}{text}{match[3].upper()}{match[4].lower()}")


def _read_renamed(name: str) -> Utterance | None:
    match = _RENAMED.fullmatch(name)
    label = _BY_EMOTION.get(normalise(match[3])) if match else None
    if match is None or label is None or match[1] not in _GENDERS or match[2].lower() not in _TEXTS:
        return None
    return _utterance(match[1], match[2].lower(), label, name.lower())


def _utterance(speaker: str, text: str, label: str, key: str) -> Utterance:
    return Utterance(
        emotion=normalise(label) or "",
        native_label=label,
        key=key,
        speaker=speaker,
        gender=_GENDERS[speaker],
        sentence=text,
    )


EMODB = Corpus(
    name="emodb",
    title="Berlin Database of Emotional Speech",
    language="de",
    licence="CC0-1.0",
    url="http://emodb.bilderbar.info",
    layout="wav/03a01Fa.wav",
    editions=(
        Edition(
            name="1",
            clips=535,
            emotions={
                "angry": 127,
                "boredom": 81,
                "disgust": 46,
                "fear": 69,
                "happy": 71,
                "neutral": 79,
                "sad": 62,
            },
            speakers=tuple(sorted(_GENDERS)),
        ),
        Edition(
            name="2, with the recordings that few listeners agreed on", clips=816, speakers=tuple(sorted(_GENDERS))
        ),
    ),
    read=_read,
)
