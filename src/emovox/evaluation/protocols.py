"""Evaluation protocols: who is trained on and who is tested, as scikit-learn splitters over a manifest.

| name | class | what it answers |
|---|---|---|
| ``random`` | `RandomSplit` | the reference study's split; speakers stand on both sides, so the figure is flattering |
| ``speaker`` | `SpeakerFolds` | how well are people understood whom the model has never heard |
| ``loso`` | `LeaveOneSpeakerOut` | the same, a fold for every speaker |
| ``corpus`` | `LeaveOneCorpusOut`, `CorpusTransfer` | how well does it carry over to other recordings |
| ``file`` | `FileFolds` | the folds that somebody else used |

Every protocol takes the manifest as `X`, or as `groups` where `X` holds features:
``cross_validate(model, features, y, groups=table, cv=SpeakerFolds())``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pandas as pd

from emovox.errors import ParameterError, ProtocolError
from emovox.evaluation.fold_lists import FOLD_LISTS, FileFolds
from emovox.evaluation.splitting import (
    EvaluationProtocol,
    Fold,
    Indices,
    UnknownSpeakers,
    deal_speakers,
    known_speakers,
    rotate,
    slug,
)

__all__ = [
    "FOLD_LISTS",
    "PROTOCOLS",
    "CorpusTransfer",
    "EvaluationProtocol",
    "FileFolds",
    "Fold",
    "LeaveOneCorpusOut",
    "LeaveOneSpeakerOut",
    "RandomSplit",
    "SpeakerFolds",
    "validation_split",
]

STUDY_SEED = 7
"""Seed of the reference study's split."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RandomSplit(EvaluationProtocol):
    """One split by chance, as in the reference study: the same speakers stand on both sides.

    With the defaults it draws the rows that ``train_test_split(..., test_size=0.25, random_state=7)`` draws. The
    study's 64/16/20 division is ``test_size=0.2`` followed by `validation_split` with its default of a fifth.

    Args:
        test_size: share of the rows that is tested, 0 < test_size < 1.
        seed: of the draw.

    Example:
        >>> table = pd.DataFrame({"corpus": "", "speaker": "a", "emotion": ["sad", "angry"] * 50})
        >>> [(len(train), len(test)) for train, test in RandomSplit().split(table)]
        [(75, 25)]
    """

    name: ClassVar[str] = "random"
    test_size: float = 0.25
    seed: int = STUDY_SEED

    def __post_init__(self) -> None:
        if not 0 < self.test_size < 1:
            raise ParameterError(f"test_size must lie between 0 and 1, got {self.test_size}")

    @property
    def key(self) -> str:
        """``random-25``: the share of the test part in per cent."""
        return f"random-{100 * self.test_size:g}"

    @property
    def sentence(self) -> str:
        """Shares, and that it is speaker-dependent."""
        test = 100 * self.test_size
        return f"{100 - test:g}/{test:g} split by chance, speakers on both sides (speaker-dependent)"

    def separates_speakers(self, table: pd.DataFrame) -> bool:
        """Never: even where it happens, nothing guarantees it."""
        del table
        return False

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Draw the test rows."""
        from sklearn.model_selection import ShuffleSplit

        if len(table) < 2:
            raise ProtocolError(f"a split needs two rows or more, there are {len(table)}")
        splitter = ShuffleSplit(n_splits=1, test_size=self.test_size, random_state=self.seed)
        train, test = next(splitter.split(np.zeros(len(table))))
        return [Fold("0", np.sort(train), np.sort(test))]


@dataclass(frozen=True, kw_only=True)
class SpeakerFolds(EvaluationProtocol):
    """K folds; nobody is heard both in training and in the test, and everybody is tested once.

    Speakers are dealt so that corpora, genders and emotions are spread as evenly over the folds as whole speakers
    allow. With fewer speakers than folds there are as many folds as speakers (two for TESS).

    Args:
        n_splits: number of folds, >= 2.
        seed: of the dealing.
        unknown_speakers: what to do with rows whose speaker is not known, who may be anybody: ``error`` refuses the
            table and says how many there are; ``aside`` uses them neither in training nor in the test.
    """

    name: ClassVar[str] = "speaker"
    n_splits: int = 5
    seed: int = STUDY_SEED
    unknown_speakers: UnknownSpeakers = "error"

    def __post_init__(self) -> None:
        if self.n_splits < 2:
            raise ParameterError(f"n_splits must be 2 or more, got {self.n_splits}")

    @property
    def key(self) -> str:
        """``speaker-5``."""
        return f"speaker-{self.n_splits}"

    @property
    def sentence(self) -> str:
        """Number of folds, and that speakers are apart."""
        return f"{self.n_splits} folds without a common speaker"

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Deal the speakers."""
        known = known_speakers(table, self.unknown_speakers)
        parts = deal_speakers(table.iloc[known], self.n_splits, self.seed)
        if len(parts) < self.n_splits:
            logger.info("%d speakers make %d folds, not %d", len(parts), len(parts), self.n_splits)
        return rotate({str(number): known[part] for number, part in enumerate(parts)})


@dataclass(frozen=True, kw_only=True)
class LeaveOneSpeakerOut(EvaluationProtocol):
    """A fold for every speaker: trained on all the others.

    Args:
        unknown_speakers: as for `SpeakerFolds`.

    Example:
        >>> table = pd.DataFrame({"corpus": "c", "speaker": ["a", "b", "b", "c"], "emotion": "sad"})
        >>> [(fold.name, fold.test.tolist()) for fold in LeaveOneSpeakerOut().folds(table)]
        [('a', [0]), ('b', [1, 2]), ('c', [3])]
    """

    name: ClassVar[str] = "loso"
    unknown_speakers: UnknownSpeakers = "error"

    @property
    def key(self) -> str:
        """``loso``."""
        return "loso"

    @property
    def sentence(self) -> str:
        """One speaker out."""
        return "one fold a speaker, trained on all others"

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Take each speaker in turn, in alphabetical order."""
        known = known_speakers(table, self.unknown_speakers)
        speakers = table["speaker"].to_numpy()[known]
        return rotate({name: known[speakers == name] for name in sorted(set(speakers))})


@dataclass(frozen=True, kw_only=True)
class LeaveOneCorpusOut(EvaluationProtocol):
    """A fold for every corpus: trained on all the others.

    Should a speaker of the tested corpus occur in another one, that speaker's rows are left out of training.
    """

    name: ClassVar[str] = "corpus"

    @property
    def key(self) -> str:
        """``corpus``."""
        return "corpus"

    @property
    def sentence(self) -> str:
        """One corpus out."""
        return "one fold a corpus, trained on all others"

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Take each corpus in turn, in alphabetical order."""
        corpora = table["corpus"].to_numpy()
        rotated = rotate({name: np.flatnonzero(corpora == name) for name in sorted(set(corpora))})
        return [_without_tested_speakers(table, fold) for fold in rotated]


@dataclass(frozen=True)
class CorpusTransfer(EvaluationProtocol):
    """One fold: trained on some corpora, tested on others; the rest is put aside.

    Args:
        train, test: names of corpora; no name in both.
    """

    name: ClassVar[str] = "corpus"
    train: Sequence[str]
    test: Sequence[str]

    def __post_init__(self) -> None:
        if not self.train or not self.test or set(self.train) & set(self.test):
            raise ParameterError(
                f"cannot train on {', '.join(self.train) or 'nothing'} and test on {', '.join(self.test) or 'nothing'}",
                remedy="Name one corpus or more on each side, and none on both.",
            )

    @property
    def key(self) -> str:
        """``corpus-ravdess-to-emodb``."""
        return slug(f"corpus-{'+'.join(self.train)}-to-{'+'.join(self.test)}")

    @property
    def sentence(self) -> str:
        """Both sides by name."""
        return f"trained on {' + '.join(self.train)}, tested on {' + '.join(self.test)}"

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Take the rows of the named corpora."""
        corpora = table["corpus"].to_numpy()
        missing = sorted({*self.train, *self.test} - set(corpora))
        if missing:
            raise ProtocolError(
                f"no clip of {', '.join(missing)} is among the rows",
                remedy=f"There are: {', '.join(sorted(set(corpora)))}.",
            )
        train, test = (np.flatnonzero(np.isin(corpora, list(side))) for side in (self.train, self.test))
        return [_without_tested_speakers(table, Fold("+".join(self.test), train, test))]


def validation_split(
    table: pd.DataFrame,
    train: Indices,
    protocol: EvaluationProtocol,
    *,
    size: float = 0.2,
    seed: int = STUDY_SEED,
) -> tuple[Indices, Indices]:
    """Divide the training rows of a fold into rows to fit and rows to validate (for early stopping and the like).

    Where the protocol separates speakers, so does this: validation speakers are neither fitted nor tested. A corpus
    in which some speaker is unknown is fitted whole, since an unknown speaker may be any of its others. Of the
    possible groups of speakers one is taken that leaves every corpus and emotion something to fit, and then the one
    nearest to `size`. Elsewhere rows are drawn by chance.

    Args:
        table: the manifest.
        train: the fold's training rows.
        protocol: that made the fold.
        size: wanted share of the training rows, 0 < size < 1.
        seed: of the division.

    Returns:
        (fit, validation) row numbers in ascending order. `validation` is empty where fewer than two speakers could
        be told apart: one who trains on a single speaker has nobody to validate on.
    """
    if not 0 < size < 1:
        raise ParameterError(f"size must lie between 0 and 1, got {size}")
    nobody = np.empty(0, dtype=np.intp)
    if not protocol.separates_speakers(table):
        from sklearn.model_selection import train_test_split

        if len(train) < 2:
            return np.sort(train), nobody
        fit, validation = train_test_split(train, test_size=size, random_state=seed)
        return np.sort(fit), np.sort(validation)
    rows = table.iloc[train]
    fitted = rows["corpus"].isin(list(rows.loc[rows["speaker"] == "", "corpus"]))
    fitted |= rows["speaker"].isin(list(rows.loc[fitted, "speaker"]))
    candidates = np.sort(train[~fitted.to_numpy()])
    if table["speaker"].iloc[candidates].nunique() < 2:
        return np.sort(train), nobody
    parts = deal_speakers(table.iloc[candidates], max(2, round(1 / size)), seed)
    best = min((candidates[part] for part in parts), key=lambda part: _cost(table, train, part, size))
    return np.setdiff1d(train, best), best


def _cost(table: pd.DataFrame, train: Indices, validation: Indices, size: float) -> tuple[int, float]:
    fit = np.setdiff1d(train, validation)
    lost = sum(
        table[column].iloc[train].nunique() - table[column].iloc[fit].nunique() for column in ("corpus", "emotion")
    )
    return lost, abs(len(validation) / len(train) - size)


def _without_tested_speakers(table: pd.DataFrame, fold: Fold) -> Fold:
    speakers = table["speaker"]
    tested = set(speakers.iloc[fold.test]) - {""}
    train = fold.train[~speakers.iloc[fold.train].isin(list(tested)).to_numpy()]
    if not len(train):
        raise ProtocolError(f"every speaker is heard in {fold.name!r}: nothing is left to train on")
    return Fold(fold.name, train, fold.test)


PROTOCOLS: Mapping[str, type[EvaluationProtocol]] = MappingProxyType(
    {kind.name: kind for kind in (RandomSplit, SpeakerFolds, LeaveOneSpeakerOut, LeaveOneCorpusOut, FileFolds)}
)
"""Protocols by their name on the command line; `CorpusTransfer` is ``corpus`` with corpora named."""
