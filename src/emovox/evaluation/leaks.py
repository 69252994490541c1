"""What training and test of a protocol have in common: voices, sentences and recordings, counted in test clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from emovox.corpora.audit import check_split
from emovox.errors import ParameterError
from emovox.evaluation.splitting import Fold


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What training and test have in common, all folds together.

    Clips are counted once for each fold that tests them. Where the speaker or sentence of a clip is unknown, nobody
    can tell; such a clip is not counted as shared, so that the shares are the least that they can be.

    Attributes:
        clips: test clips.
        speaker_clips: test clips whose speaker is heard in the training of the same fold.
        sentence_clips: test clips whose sentence is spoken in the training of the same fold, in the same corpus.
            Common in acted corpora, where all say the same.
        copied_clips: test clips of which training has a copy.
        unknown_speaker_clips, unknown_sentence_clips: test clips that name no speaker, no sentence.
        speakers: different speakers who stand on both sides of a fold.
    """

    clips: int
    speaker_clips: int
    sentence_clips: int
    copied_clips: int
    unknown_speaker_clips: int
    unknown_sentence_clips: int
    speakers: int

    @property
    def speaker_share(self) -> float:
        """Share of the test clips whose speaker is heard in training, in [0, 1]."""
        return self.speaker_clips / self.clips

    @property
    def sentence_share(self) -> float:
        """Share of the test clips whose sentence is spoken in training, in [0, 1]."""
        return self.sentence_clips / self.clips

    @property
    def copied_share(self) -> float:
        """Share of the test clips of which training has a copy, in [0, 1]."""
        return self.copied_clips / self.clips

    @property
    def sentence(self) -> str:
        """The leak in a few words.

        Example:
            >>> leak = Leak(clips=1000, speaker_clips=1000, sentence_clips=998, copied_clips=1,
            ...             unknown_speaker_clips=0, unknown_sentence_clips=2, speakers=36)
            >>> leak.sentence
            '100 % of test clips by speakers heard in training, over 99 % with sentences spoken there, 1 copy; 2 test
            clips name no sentence'
        """
        text = (
            f"{_per_cent(self.speaker_clips, self.clips)} of test clips by speakers heard in training, "
            f"{_per_cent(self.sentence_clips, self.clips)} with sentences spoken there, "
            f"{self.copied_clips:,} {'copy' if self.copied_clips == 1 else 'copies'}"
        )
        for unknown, what in ((self.unknown_speaker_clips, "speaker"), (self.unknown_sentence_clips, "sentence")):
            if unknown:
                text += f"; {unknown:,} test {'clip names' if unknown == 1 else 'clips name'} no {what}"
        return text


def leaks(table: pd.DataFrame, folds: Sequence[Fold], groups: Sequence[Sequence[int]] = ()) -> Leak:
    """Count what training and test of each fold have in common.

    Args:
        table: a manifest; of its columns ``corpus``, ``speaker`` and ``sentence`` are used.
        folds: of a protocol on this table.
        groups: row numbers that hold the same recording, such as ``[group.rows for group in report.groups]`` of
            `emovox.corpora.audit.audit`.

    Returns:
        The sum over the folds.

    Raises:
        ParameterError: if a column is missing, no clip is tested, or a fold or group names rows that there are not.

    Example:
        >>> import numpy as np
        >>> table = pd.DataFrame({"corpus": "c", "speaker": [*"aabb"], "sentence": [*"1212"]})
        >>> by_chance, apart = (Fold("0", np.array(rows), np.array([1, 3])) for rows in ([0, 2], [0]))
        >>> leaks(table, [by_chance]).sentence
        '100 % of test clips by speakers heard in training, 0 % with sentences spoken there, 0 copies'
        >>> leaks(table, [apart], groups=[(0, 3)]).copied_clips
        1
    """
    missing = [column for column in ("corpus", "speaker", "sentence") if column not in table.columns]
    if missing:
        raise ParameterError(f"the table has no column {', '.join(missing)}", remedy="Give the whole manifest.")
    clips = sum(len(fold.test) for fold in folds)
    if not clips:
        raise ParameterError("no fold tests a clip: nothing can be said about what it shares with training")
    named = [row for group in groups for row in group]
    if named and not 0 <= min(named) <= max(named) < len(table):
        raise ParameterError(f"groups of copies name rows outside 0 .. {len(table) - 1}")
    counts: Counter[str] = Counter()
    shared: set[str] = set()
    for number, fold in enumerate(folds, start=1):
        split = check_split(table, fold.train, fold.test, name=fold.name, fold=number)
        shared |= {*split.speakers}
        trained = set(fold.train.tolist())
        copied = {row for group in groups if not trained.isdisjoint(group) for row in group}
        tested = table.iloc[fold.test]
        counts["speaker"] += int(tested["speaker"].isin(list(split.speakers)).sum())
        counts["sentence"] += int((tested["corpus"] + "/" + tested["sentence"]).isin(list(split.sentences)).sum())
        counts["copied"] += len(copied & set(fold.test.tolist()))
        counts["unknown_speaker"] += int((tested["speaker"] == "").sum())
        counts["unknown_sentence"] += int((tested["sentence"] == "").sum())
    return Leak(
        clips=clips,
        speaker_clips=counts["speaker"],
        sentence_clips=counts["sentence"],
        copied_clips=counts["copied"],
        unknown_speaker_clips=counts["unknown_speaker"],
        unknown_sentence_clips=counts["unknown_sentence"],
        speakers=len(shared),
    )


def _per_cent(part: int, whole: int) -> str:
    """Whole per cent, but never "0 %" of something nor "100 %" of less than all."""
    rounded = round(100 * part / whole)
    if rounded == 0 and part:
        return "under 1 %"
    if rounded == 100 and part < whole:
        return "over 99 %"
    return f"{rounded} %"
