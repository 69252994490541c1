"""EMOVO: three women and three men say fourteen Italian sentences."""

from __future__ import annotations

import re
from pathlib import Path

from emovox.corpora.base import Corpus, Edition, Utterance, same_for_all
from emovox.emotions import EMOTIONS

_PATTERN = re.compile(r"(dis|gio|neu|pau|rab|sor|tri)-([fm][1-3])-([a-z]\d)", re.IGNORECASE)
_LABELS = {
    "dis": ("disgusto", "disgust"),
    "gio": ("gioia", "happy"),
    "neu": ("neutro", "neutral"),
    "pau": ("paura", "fear"),
    "rab": ("rabbia", "angry"),
    "sor": ("sorpresa", "surprise"),
    "tri": ("tristezza", "sad"),
}


def _read(name: str, path: Path) -> Utterance | None:
    del path
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    speaker = match[2].lower()
    label, emotion = _LABELS[match[1].lower()]
    return Utterance(
        emotion=emotion,
        native_label=label,
        key=name.lower(),
        speaker=speaker,
        gender="female" if speaker[0] == "f" else "male",
        sentence=match[3].lower(),
    )


EMOVO = Corpus(
    name="emovo",
    title="EMOVO, an Italian emotional speech database",
    language="it",
    licence="not stated",
    url="http://voice.fub.it/activities/corpora/emovo/index.html",
    layout="f1/gio-f1-b1.wav",
    editions=(
        Edition(
            name="all",
            clips=588,
            emotions=same_for_all(" ".join(EMOTIONS), 84),
            speakers=("f1", "f2", "f3", "m1", "m2", "m3"),
        ),
    ),
    read=_read,
)
