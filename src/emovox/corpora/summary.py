"""How much of each corpus a manifest holds, beside what the makers of the corpus state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from emovox.corpora.base import Corpus, Edition
from emovox.corpora.registry import CORPORA

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Summary:
    """One corpus of a manifest.

    Attributes:
        name, title: of the corpus; people's own data have no title.
        clips: number of rows.
        seconds: their length together; NaN if no row says it.
        speakers: number of different speakers.
        without_speaker: rows that name none.
        emotions: rows by emotion; a label that emovox has no name for counts by its own.
        edition: name of the official release that is compared with; None if none is known.
        official_clips: its size.
        missing_clips: how many fewer clips there are; negative for more.
        missing_speakers: speakers of it, by the corpus's own names, that no row has. Empty if a row has no speaker.
        missing_emotions: how many fewer clips of an emotion there are.
    """

    name: str
    title: str
    clips: int
    seconds: float
    speakers: int
    without_speaker: int
    emotions: Mapping[str, int]
    edition: str | None
    official_clips: int | None
    missing_clips: int
    missing_speakers: tuple[str, ...]
    missing_emotions: Mapping[str, int]

    @property
    def complete(self) -> bool | None:
        """Whether nothing of the official release is missing; None if no release is known."""
        if self.official_clips is None:
            return None
        return self.missing_clips <= 0 and not self.missing_speakers and not self.missing_emotions

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return asdict(self) | {"complete": self.complete}


def summarise(table: pd.DataFrame) -> list[Summary]:
    """Describe each corpus of a manifest, in the manifest's order.

    Args:
        table: a manifest with all its emotions: labels that were dropped would count as missing.
    """
    return [_summary(str(name), rows) for name, rows in table.groupby("corpus", sort=False)]


def _summary(name: str, rows: pd.DataFrame) -> Summary:
    corpus = CORPORA.get(name)
    edition = corpus.edition(len(rows)) if corpus else None
    labels = rows["emotion"].where(rows["emotion"] != "", rows["native_label"]).value_counts()
    emotions = {str(label) or "no label": int(labels[label]) for label in sorted(labels.index)}
    without_speaker = int((rows["speaker"] == "").sum())
    known = rows["duration"].notna().any()
    return Summary(
        name=name,
        title=corpus.title if corpus else "",
        clips=len(rows),
        seconds=float(rows["duration"].sum()) if known else float("nan"),
        speakers=int(rows.loc[rows["speaker"] != "", "speaker"].nunique()),
        without_speaker=without_speaker,
        emotions=emotions,
        edition=edition.name if edition else None,
        official_clips=edition.clips if edition else None,
        missing_clips=edition.clips - len(rows) if edition else 0,
        missing_speakers=_missing_speakers(corpus, edition, rows) if not without_speaker else (),
        missing_emotions=_missing_emotions(edition, emotions),
    )


def _missing_speakers(corpus: Corpus | None, edition: Edition | None, rows: pd.DataFrame) -> tuple[str, ...]:
    if corpus is None or edition is None:
        return ()
    found = set(rows["speaker"])
    prefix = corpus.speaker_prefix or corpus.name
    return tuple(speaker for speaker in edition.speakers if f"{prefix}-{speaker}" not in found)


def _missing_emotions(edition: Edition | None, found: Mapping[str, int]) -> dict[str, int]:
    official = edition.emotions if edition else {}
    return {
        emotion: clips - found.get(emotion, 0) for emotion, clips in official.items() if clips > found.get(emotion, 0)
    }
