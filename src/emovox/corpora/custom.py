"""What the reference study calls CUSTOM: clips of disgust and fear named like ``5.9.disgust-03``.

Who speaks, in which language and what, is not published; it stays empty. The other clips of that part of the study
are CREMA-D and TESS and are read as such.
"""

from __future__ import annotations

import re
from pathlib import Path

from emovox.corpora.base import Corpus, Utterance
from emovox.emotions import normalise

_PATTERN = re.compile(r"\d+\.\d+\.([a-z]+)-\d+", re.IGNORECASE)


def _read(name: str, path: Path) -> Utterance | None:
    del path
    match = _PATTERN.fullmatch(name)
    emotion = normalise(match[1]) if match else None
    if match is None or emotion is None:
        return None
    return Utterance(emotion=emotion, native_label=match[1].lower(), key=name.lower())


CUSTOM = Corpus(
    name="custom",
    title="The reference study's own part, of unknown origin",
    language="",
    licence="unknown",
    url="",
    layout="5.9.disgust-03.wav",
    editions=(),
    read=_read,
)
