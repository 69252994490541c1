"""RAVDESS: 24 actors speak and sing two sentences. Speech and song are two corpora here, with the same speakers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from emovox.corpora import renamed
from emovox.corpora.base import Corpus, Edition, FileNameError, Utterance, same_for_all
from emovox.emotions import normalise

_PATTERN = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
_VIDEO_ONLY = "02"
_MODALITIES = ("01", _VIDEO_ONLY, "03")
_LABELS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
_CODES = {normalise(label): code for code, label in _LABELS.items()}
_INTENSITIES = {"01": "normal", "02": "strong"}
_STATEMENTS = {"kids-talking": "01", "dogs-sitting": "02"}
_ACTORS = tuple(f"{number:02}" for number in range(1, 25))
_SPEECH, _SONG = "01", "02"


def _utterance(channel: str, label: str, intensity: str, statement: str, repetition: str, actor: str) -> Utterance:
    return Utterance(
        emotion=normalise(_LABELS[label]) or "",
        native_label=_LABELS[label],
        key="-".join((channel, label, intensity, statement, repetition, actor)),
        speaker=actor,
        # Odd numbers are men, even ones women.
        gender="female" if int(actor) % 2 == 0 else "male",
        sentence=statement,
        intensity=_INTENSITIES[intensity],
    )


def _reader(wanted: str) -> Callable[[str, Path], Utterance | None]:
    """Make the function that reads names of one vocal channel."""

    def read(name: str, path: Path) -> Utterance | None:
        match = _PATTERN.fullmatch(name)
        if match is None:
            return _read_renamed(name, wanted)
        modality, channel, label, intensity, statement, repetition, actor = match.groups()
        if channel != wanted and channel in (_SPEECH, _SONG):
            return None
        allowed = (
            ("modality", modality, _MODALITIES),
            ("vocal channel", channel, (_SPEECH, _SONG)),
            ("emotion", label, tuple(_LABELS)),
            ("intensity", intensity, tuple(_INTENSITIES)),
            ("statement", statement, tuple(_STATEMENTS.values())),
            ("actor", actor, _ACTORS),
        )
        for field, value, values in allowed:
            if value not in values:
                raise FileNameError(f"RAVDESS has no {field} {value}", path=path, remedy="Rename it or leave it out.")
        if modality == _VIDEO_ONLY:
            raise FileNameError(
                "is a video without sound (modality 02)", path=path, remedy="Take the file that begins 03."
            )
        return _utterance(channel, label, intensity, statement, repetition, actor)

    return read


def _read_renamed(name: str, wanted: str) -> Utterance | None:
    parts = renamed.split(name)
    if (
        parts is None
        or parts.channel != wanted
        or parts.speaker not in _ACTORS
        or parts.intensity not in _INTENSITIES
        or parts.text not in _STATEMENTS
        or parts.emotion not in _CODES
    ):
        return None
    code, statement = _CODES[parts.emotion], _STATEMENTS[parts.text]
    return _utterance(wanted, code, parts.intensity, statement, parts.repetition, parts.speaker)


_LICENCE = "CC BY-NC-SA 4.0"
_URL = "https://doi.org/10.5281/zenodo.1188976"

SPEECH = Corpus(
    name="ravdess",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song: speech",
    language="en",
    licence=_LICENCE,
    url=_URL,
    layout="Actor_12/03-01-05-01-02-01-12.wav",
    editions=(
        Edition(
            name="speech",
            clips=1440,
            emotions=same_for_all("angry calm disgust fear happy neutral sad surprise", 192, neutral=96),
            speakers=_ACTORS,
        ),
    ),
    read=_reader(_SPEECH),
)
SONG = Corpus(
    name="ravdess-song",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song: song",
    language="en",
    licence=_LICENCE,
    url=_URL,
    layout="Actor_12/03-02-05-01-02-01-12.wav",
    editions=(
        Edition(
            name="song",
            clips=1012,
            emotions=same_for_all("angry calm fear happy neutral sad", 184, neutral=92),
            # Actor 18 does not sing.
            speakers=tuple(actor for actor in _ACTORS if actor != "18"),
        ),
    ),
    read=_reader(_SONG),
    speaker_prefix="ravdess",
)
