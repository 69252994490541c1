"""ESD: ten speakers of Mandarin and ten of English say 350 sentences in five emotions each."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from emovox.corpora.base import Corpus, Edition, FileNameError, Utterance, same_for_all
from emovox.emotions import normalise

# The reference study appends the emotion: 0001_000001_neutral.
_PATTERN = re.compile(r"(\d{4})_(\d{6})(?:_([a-z]+))?", re.IGNORECASE)
_SENTENCES = 350
# Utterances are numbered through, 350 for each emotion, in this order.
_LABELS = {"neutral": "Neutral", "angry": "Angry", "happy": "Happy", "sad": "Sad", "surprise": "Surprise"}
_CHINESE = {"中立": "neutral", "生气": "angry", "快乐": "happy", "伤心": "sad", "惊喜": "surprise"}
_LEVELS_ABOVE = 2
"""How many folders above a recording may name the emotion: 0011/Angry/train/0011_000351.wav has two."""
# From ReadMe.txt of the official release.
_GENDERS = {
    **dict.fromkeys(("0001", "0002", "0003", "0007", "0009"), "female"),
    **dict.fromkeys(("0004", "0005", "0006", "0008", "0010"), "male"),
    **dict.fromkeys(("0011", "0012", "0013", "0014", "0020"), "male"),
    **dict.fromkeys(("0015", "0016", "0017", "0018", "0019"), "female"),
}


def _read(name: str, path: Path) -> Utterance | None:
    match = _PATTERN.fullmatch(name)
    if match is None or match[1] not in _GENDERS:
        return None
    speaker, number = match[1], int(match[2])
    if not 1 <= number <= _SENTENCES * len(_LABELS):
        raise FileNameError(f"ESD numbers its utterances 000001 to 001750, not {match[2]}", path=path)
    emotion = normalise(match[3]) if match[3] else _emotion(speaker, match[2], path)
    if emotion not in _LABELS:
        raise FileNameError(
            f"ESD has no emotion {match[3] or emotion!r}", path=path, remedy="Rename it or leave it out."
        )
    language = "zh" if int(speaker) <= 10 else "en"
    sentence = (number - 1) % _SENTENCES + 1
    return Utterance(
        emotion=emotion,
        native_label=_LABELS[emotion],
        key=f"{speaker}_{number:06}_{emotion}",
        speaker=speaker,
        gender=_GENDERS[speaker],
        language=language,
        sentence=f"{language}-{sentence:03}",
    )


def _emotion(speaker: str, number: str, path: Path) -> str:
    """Find the emotion: in a folder's name, in the speaker's table, else by the official numbering."""
    for folder in list(path.parents)[:_LEVELS_ABOVE]:
        emotion = normalise(folder.name)
        if emotion is not None:
            return emotion
    for folder in list(path.parents)[: _LEVELS_ABOVE + 1]:
        table = folder / f"{speaker}.txt"
        if table.is_file():
            label = _label_table(table, table.stat().st_mtime_ns).get(f"{speaker}_{number}")
            if label is not None:
                return _CHINESE.get(label) or normalise(label) or label
    return list(_LABELS)[(int(number) - 1) // _SENTENCES]


@lru_cache(maxsize=64)
def _label_table(path: Path, changed_ns: int) -> Mapping[str, str]:
    """Read lines of utterance, text and label; `changed_ns` makes a changed file be read again."""
    del changed_ns
    data = path.read_bytes()
    # The official tables differ in their encodings.
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("gb18030", errors="replace")
    fields = (line.split() for line in text.splitlines())
    return {words[0]: words[-1] for words in fields if len(words) > 1}


ESD = Corpus(
    name="esd",
    title="Emotional Speech Dataset",
    language="zh,en",
    licence="research only",
    url="https://github.com/HLTSingapore/Emotional-Speech-Data",
    layout="0011/Angry/0011_000351.wav",
    editions=(
        Edition(
            name="all", clips=35_000, emotions=same_for_all(" ".join(_LABELS), 7_000), speakers=tuple(sorted(_GENDERS))
        ),
    ),
    read=_read,
)
