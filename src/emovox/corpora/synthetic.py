"""The synthetic corpus: made voices for tests and for demonstrations without a network. No person speaks in it.

Everything that comes from it says so: its folder has a README, its files are called ``synthetic-...``, its manifest
rows have the corpus ``synthetic`` and speakers such as ``synthetic-s01f``.
"""

from __future__ import annotations

import os
import re
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emovox._files import replacing
from emovox.corpora import voices
from emovox.corpora.base import Corpus, FileNameError, Utterance
from emovox.emotions import EMOTIONS
from emovox.errors import CorpusError, ParameterError

NAME = "synthetic"
NOTICE = (
    "These recordings are SYNTHETIC: computed voices, not people. Figures measured on them say nothing about\n"
    "emotion in human speech. Written by `emovox corpora synthesize`; free to use (CC0-1.0).\n"
)
_PATTERN = re.compile(r"synthetic-(s\d\d[fm])-(t\d\d)-([a-z]+)-(\d\d)")
MAX_SPEAKERS = 99
MAX_TAKES = 99


@dataclass(frozen=True)
class Line:
    """One clip of the synthetic corpus: who says what, and how.

    Attributes:
        speaker: number, from 1; odd ones are female, even ones male.
        sentence: number of the text, from 1.
        emotion: one of the seven.
        take: from 1.
    """

    speaker: int
    sentence: int
    emotion: str
    take: int

    @property
    def speaker_name(self) -> str:
        """Such as ``s01f``."""
        return f"s{self.speaker:02d}{'f' if self.speaker % 2 else 'm'}"

    @property
    def path(self) -> Path:
        """Where it lies below the corpus's folder."""
        name = f"{NAME}-{self.speaker_name}-t{self.sentence:02d}-{self.emotion}-{self.take:02d}.wav"
        return Path(self.speaker_name, name)


def plan(*, speakers: int = 8, sentences: int = 4, takes: int = 1, emotions: Sequence[str] = EMOTIONS) -> list[Line]:
    """List the lines of a corpus: every speaker says every sentence in every emotion.

    Raises:
        ParameterError: if a number is out of range or an emotion has no voice.
    """
    for what, value, most in (
        ("speakers", speakers, MAX_SPEAKERS),
        ("sentences", sentences, len(voices.SENTENCES)),
        ("takes", takes, MAX_TAKES),
    ):
        if not 1 <= value <= most:
            raise ParameterError(f"{what} = {value}; 1 to {most} are possible")
    unknown = [emotion for emotion in emotions if emotion not in voices.MANNERS]
    if unknown or not emotions:
        raise ParameterError(
            f"no synthetic voice for {', '.join(map(repr, unknown)) or 'no emotion'}",
            remedy=f"Use {', '.join(voices.MANNERS)}.",
        )
    return [
        Line(speaker, sentence, emotion, take)
        for speaker in range(1, speakers + 1)
        for sentence in range(1, sentences + 1)
        for emotion in emotions
        for take in range(1, takes + 1)
    ]


def render(line: Line, *, seed: int = 0) -> np.ndarray:
    """Synthesise one line; its sound depends on the seed and on itself, not on what else is in the corpus.

    Returns:
        float32 of shape (n,) at 16 kHz.
    """
    emotion = list(voices.MANNERS).index(line.emotion)
    person = np.random.default_rng([seed, line.speaker])
    voice = voices.speaker(person, female=line.speaker % 2 == 1)
    rng = np.random.default_rng([seed, line.speaker, line.sentence, emotion, line.take])
    manner = voices.vary(voices.MANNERS[line.emotion], rng)
    return voices.say(voices.SENTENCES[line.sentence - 1], voice, manner, rng)


def synthesize(
    folder: str | os.PathLike[str],
    *,
    speakers: int = 8,
    sentences: int = 4,
    takes: int = 1,
    emotions: Sequence[str] = EMOTIONS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the synthetic corpus: 16-bit WAV at 16 kHz, a folder a speaker, and a README that says what it is.

    The same arguments give the same bytes. A file is written in one step; what is there already is written again.

    Args:
        folder: where to; made if need be.
        speakers: how many voices, 1..99; as many women as men.
        sentences: how many texts, 1..8.
        takes: how often each one is said, 1..99.
        emotions: which of the seven.
        seed: 0 or more; another seed gives other speakers and other takes.
        progress: called with files written and all files.

    Returns:
        The files, in order.

    Raises:
        ParameterError: see `plan`.
        CorpusError: if a file cannot be written.
    """
    if seed < 0:
        raise ParameterError(f"seed = {seed}; it must not be negative")
    lines = plan(speakers=speakers, sentences=sentences, takes=takes, emotions=emotions)
    root = Path(folder)
    paths = []
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / "README.txt").write_text(NOTICE, encoding="utf-8")
        for done, line in enumerate(lines, start=1):
            path = root / line.path
            path.parent.mkdir(exist_ok=True)
            _write(path, render(line, seed=seed))
            paths.append(path)
            if progress is not None:
                progress(done, len(lines))
    except OSError as error:
        raise CorpusError(
            f"cannot be written ({error.strerror})", path=error.filename or root, remedy="Choose another folder."
        ) from error
    return paths


def _write(path: Path, samples: np.ndarray) -> None:
    with replacing(path) as partial, wave.open(str(partial), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(voices.RATE)
        file.writeframes(np.round(samples * 32_767).astype("<i2").tobytes())


def _read(name: str, path: Path) -> Utterance | None:
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    speaker, sentence, emotion, _ = match.groups()
    if emotion not in EMOTIONS:
        raise FileNameError(f"the synthetic corpus has no emotion {emotion!r}", path=path)
    return Utterance(
        emotion=emotion,
        native_label=emotion,
        key=name,
        speaker=speaker,
        gender="female" if speaker.endswith("f") else "male",
        sentence=sentence,
    )


SYNTHETIC = Corpus(
    name=NAME,
    title="Synthetic voices (computed, not people)",
    language="",
    licence="CC0-1.0",
    url="",
    layout="s01f/synthetic-s01f-t01-angry-01.wav",
    editions=(),
    read=_read,
)
