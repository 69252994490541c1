"""CREMA-D: 91 actors say twelve English sentences, one of them at three levels of emotion."""

from __future__ import annotations

import re
from pathlib import Path

from emovox.corpora.base import Corpus, Edition, FileNameError, Utterance, same_for_all
from emovox.emotions import normalise

# The reference study writes the emotion as a word: 1055_IEO_disgust_HI. One official name ends in X instead of XX.
_PATTERN = re.compile(r"(1\d{3})_([a-z]{3})_([a-z]+)(?:_(LO|MD|HI|XX?))?", re.IGNORECASE)
_LABELS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
_BY_EMOTION = {normalise(label): label for label in _LABELS.values()}
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high"}
_SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
_ACTORS = tuple(str(number) for number in range(1001, 1092))
# From VideoDemographics.csv of the official repository.
# fmt: off
_WOMEN = frozenset((
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030, 1037,
    1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078,
    1079, 1082, 1084, 1089, 1091,
))
# fmt: on


def _read(name: str, path: Path) -> Utterance | None:
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    actor, sentence, word = match[1], match[2].upper(), match[3]
    label = _LABELS.get(word.upper()) or _BY_EMOTION.get(normalise(word))
    for what, unknown in (("actor", actor not in _ACTORS), ("sentence", sentence not in _SENTENCES)):
        if unknown:
            value = actor if what == "actor" else sentence
            raise FileNameError(f"CREMA-D has no {what} {value}", path=path, remedy="Rename it or leave it out.")
    if label is None:
        raise FileNameError(f"CREMA-D has no emotion {word}", path=path, remedy="Rename it or leave it out.")
    level = (match[4] or "").upper()
    return Utterance(
        emotion=normalise(label) or "",
        native_label=label,
        key=f"{actor}-{sentence}-{label}-{level[:1]}",
        speaker=actor,
        gender="female" if int(actor) in _WOMEN else "male",
        sentence=sentence,
        intensity=_LEVELS.get(level, ""),
    )


CREMAD = Corpus(
    name="cremad",
    title="Crowd-sourced Emotional Multimodal Actors Dataset",
    language="en",
    licence="ODbL 1.0 and DbCL 1.0",
    url="https://github.com/CheyneyComputerScience/CREMA-D",
    layout="AudioWAV/1001_DFA_ANG_XX.wav",
    editions=(
        Edition(
            name="all",
            clips=7442,
            emotions=same_for_all("angry disgust fear happy neutral sad", 1271, neutral=1087),
            speakers=_ACTORS,
        ),
    ),
    read=_read,
)
