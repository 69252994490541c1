"""CASIA: two women and two men say Mandarin sentences."""

from __future__ import annotations

import re
from pathlib import Path

from emovox.corpora.base import Corpus, Edition, FileNameError, Utterance, same_for_all
from emovox.emotions import normalise

_LABELS = ("angry", "fear", "happy", "neutral", "sad", "surprise")
_GENDERS = {"liuchanhg": "female", "wangzhe": "male", "zhaoquanyin": "female", "ZhaoZuoxiang": "male"}
# Folders of the part with the same texts in every emotion, and of the part with a text of its own for each.
_SAME_TEXT = {speaker.lower(): speaker for speaker in _GENDERS}
_OWN_TEXT = {
    "chang.liu": "liuchanhg",
    "zhe.wang": "wangzhe",
    "quanyin.zhao": "zhaoquanyin",
    "zuoxiang.zhao": "ZhaoZuoxiang",
}
_FLAT = re.compile(r"(\d+)-([a-z]+)-([a-z]+)", re.IGNORECASE)


def _read(name: str, path: Path) -> Utterance | None:
    flat = _FLAT.fullmatch(name)
    if flat is not None and flat[3].lower() in _SAME_TEXT:
        text, label, folder = flat.groups()
    else:
        text, label, folder = name, path.parent.name, path.parent.parent.name
    speaker = _SAME_TEXT.get(folder.lower()) or _OWN_TEXT.get(folder.lower())
    if speaker is None:
        return None
    emotion = "neutral" if label.lower() == "normal" else normalise(label)
    if emotion not in _LABELS:
        raise FileNameError(f"CASIA has no emotion {label!r}", path=path, remedy="Rename it or leave it out.")
    sentence = f"{emotion}-{text}" if folder.lower() in _OWN_TEXT else text
    return Utterance(
        emotion=emotion,
        native_label=label.lower(),
        key=f"{speaker}-{emotion}-{sentence}",
        speaker=speaker,
        gender=_GENDERS[speaker],
        sentence=sentence,
    )


CASIA = Corpus(
    name="casia",
    title="CASIA Chinese emotional corpus",
    language="zh",
    licence="by agreement",
    url="http://www.chineseldc.org",
    layout="liuchanhg/angry/201.wav",
    editions=(
        Edition(name="public", clips=1200, emotions=same_for_all(" ".join(_LABELS), 200), speakers=tuple(_GENDERS)),
        Edition(name="full", clips=9600, emotions=same_for_all(" ".join(_LABELS), 1600), speakers=tuple(_GENDERS)),
    ),
    read=_read,
)
