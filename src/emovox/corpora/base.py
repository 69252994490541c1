"""What a corpus is: its facts, and a function that reads what the name of a recording says.

A new corpus is one file with a `Corpus` in it and one entry in `emovox.corpora.registry`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emovox.corpora.tree import list_files
from emovox.emotions import normalise
from emovox.errors import CorpusError

_COPY_MARK = re.compile(r"(?:\s*\(\d+\)|\s*-\s*copy(?:\s*\(?\d+\)?)?|[ _]copy(?:[ _]?\d+)?)$", re.IGNORECASE)


class FileNameError(CorpusError):
    """A name is built like those of a corpus but holds a value that the corpus does not have."""

    default_code = "bad_name"


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What the name of a recording says.

    Attributes:
        emotion: emovox's name of the emotion.
        native_label: the corpus's own name of it.
        key: the same for every copy of one utterance of the corpus, whatever its file is called.
        speaker: the corpus's own name of the speaker; empty where the name of the file does not tell.
        gender: ``female``, ``male`` or empty.
        language: ISO 639-1.
        sentence: the corpus's own name of the text.
        intensity: in the corpus's words; empty where the corpus states none.
    """

    emotion: str
    native_label: str
    key: str
    speaker: str = ""
    gender: str = ""
    language: str = ""
    sentence: str = ""
    intensity: str = ""


@dataclass(frozen=True, kw_only=True)
class Edition:
    """The size that the makers of a corpus state for one of its releases.

    Attributes:
        name: such as ``speech, audio only``.
        clips: number of recordings.
        emotions: recordings by emotion (emovox's names); empty where it is not stated.
        speakers: all speakers, by the corpus's own names.
    """

    name: str
    clips: int
    emotions: Mapping[str, int] = field(default_factory=dict)
    speakers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus that emovox knows.

    Attributes:
        name: as in the manifest's column ``corpus``.
        title: its full name.
        language: ISO 639-1 codes, comma-separated if several; empty if unknown.
        licence: what its makers allow.
        url: where it comes from.
        layout: an example of a path.
        editions: official sizes, smallest first; empty where none is published.
        read: takes the cleaned name of a file (`stem`) and its path; gives what it says, or None if it is not a
            name of this corpus; raises `FileNameError` for an impossible one.
        speaker_prefix: what speakers' names begin with, if not `name` (two corpora can share speakers).
    """

    name: str
    title: str
    language: str
    licence: str
    url: str
    layout: str
    editions: tuple[Edition, ...]
    read: Callable[[str, Path], Utterance | None]
    speaker_prefix: str = ""

    def utterance(self, path: Path) -> Utterance | None:
        """Read a path; an emotion that somebody appended (``03a01Fa_happy``) must agree with the rest of the name.

        Raises:
            FileNameError: if the name contradicts itself or the corpus.
        """
        name = stem(path)
        found = self.read(name, path)
        if found is not None:
            return found
        rest, _, word = name.rpartition("_")
        emotion = normalise(word) if rest else None
        found = self.read(rest, path) if emotion is not None else None
        if found is not None and found.emotion != emotion:
            raise FileNameError(
                f"the name says {found.emotion} by its code and {emotion} at its end",
                path=path,
                remedy="Rename it or leave it out.",
            )
        return found

    def row(self, path: Path, utterance: Utterance) -> dict[str, object]:
        """Make the manifest's row of an utterance."""
        speaker = f"{self.speaker_prefix or self.name}-{utterance.speaker}" if utterance.speaker else ""
        return {
            "path": str(path),
            "corpus": self.name,
            "speaker": speaker,
            "gender": utterance.gender,
            "language": utterance.language or self.language,
            "emotion": utterance.emotion,
            "native_label": utterance.native_label,
            "sentence": utterance.sentence,
            "intensity": utterance.intensity,
        }

    def rows(self, folder: Path) -> Iterator[dict[str, object]]:
        """Yield the manifest's rows of every recording in `folder` that is named as in this corpus.

        Faulty names are passed over here; `emovox.corpora.scan` reports them.
        """
        for path in list_files(folder).audio:
            try:
                utterance = self.utterance(path)
            except FileNameError:
                continue
            if utterance is not None:
                yield self.row(path, utterance)

    def matches(self, folder: Path) -> float:
        """Give the share of the recordings in `folder` that are named as in this corpus, 0 to 1."""
        audio = list_files(folder).audio
        return sum(1 for _ in self.rows(folder)) / len(audio) if audio else 0.0

    def edition(self, clips: int) -> Edition | None:
        """Give the smallest edition that holds as many clips, else the largest, else None.

        Example:
            >>> from emovox.corpora import CORPORA
            >>> CORPORA["casia"].edition(1_199).clips, CORPORA["casia"].edition(1_201).clips
            (1200, 9600)
        """
        for edition in self.editions:
            if clips <= edition.clips:
                return edition
        return self.editions[-1] if self.editions else None


def stem(path: Path) -> str:
    """Give a file's name without its ending and without what file managers add to copies.

    Example:
        >>> stem(Path("OAF_back_sad (1).wav")), stem(Path("03a01Fa - Copy.flac"))
        ('OAF_back_sad', '03a01Fa')
    """
    return _COPY_MARK.sub("", unicodedata.normalize("NFC", path.stem).strip())


def same_for_all(emotions: str, clips: int, **other: int) -> dict[str, int]:
    """Give every emotion of a blank-separated list the same number of clips; `other` overrides.

    Example:
        >>> same_for_all("angry neutral", 192, neutral=96)
        {'angry': 192, 'neutral': 96}
    """
    return dict.fromkeys(emotions.split(), clips) | other
