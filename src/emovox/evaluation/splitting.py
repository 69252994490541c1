"""What every protocol is made of: folds, the splitter interface, and dealing out speakers."""

from __future__ import annotations

import dataclasses
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from emovox.errors import ParameterError, ProtocolError

Indices: TypeAlias = npt.NDArray[np.intp]
UnknownSpeakers: TypeAlias = Literal["error", "aside"]

_SPREAD = ("corpus", "gender", "emotion")
"""Columns that are spread evenly over the parts."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of the rows.

    Attributes:
        name: what is tested: a number, a speaker, a corpus.
        train, test: row numbers in ascending order; they have no row in common.
    """

    name: str
    train: Indices
    test: Indices


class EvaluationProtocol(ABC):
    """Base of all protocols; a subclass says how rows are divided (`folds`) and what that means (`sentence`)."""

    name: ClassVar[str]
    """Name on the command line."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Short text, safe in file names, that tells apart protocols with different settings (except the seed)."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """The protocol in a few words, for tables."""

    @abstractmethod
    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Divide the rows of a manifest.

        Raises:
            ProtocolError: if the protocol cannot be carried out on these rows.
        """

    def with_seed(self, seed: int) -> Self:
        """Give the same protocol with another seed; one that draws nothing stays as it is."""
        return dataclasses.replace(self, seed=seed) if hasattr(self, "seed") else self  # type: ignore[type-var]

    def separates_speakers(self, table: pd.DataFrame) -> bool:
        """Whether nobody is heard both in training and in the test."""
        del table
        return True

    def split(self, X: Any, y: object = None, groups: Any = None) -> Iterator[tuple[Indices, Indices]]:
        """Yield (train, test) row numbers, as scikit-learn's splitters do.

        Args:
            X: the manifest; or anything with a row an utterance if `groups` is the manifest.
            y: not used; emotions are taken from the manifest.
            groups: the manifest, where X is something else.
        """
        del y
        for fold in self.folds(_manifest_of(X, groups)):
            yield fold.train, fold.test

    def get_n_splits(self, X: Any = None, y: object = None, groups: Any = None) -> int:
        """Count the folds that `split` yields for these rows."""
        del y
        return len(self.folds(_manifest_of(X, groups)))

    def put_aside(self, table: pd.DataFrame) -> Indices:
        """Give the rows that no fold trains on or tests, in ascending order."""
        used = np.zeros(len(table), dtype=bool)
        for fold in self.folds(table):
            used[fold.train] = True
            used[fold.test] = True
        return np.flatnonzero(~used)

    def describe(self, table: pd.DataFrame) -> str:
        """Say in one line what a figure refers to: corpora, classes, clips, speakers and protocol."""
        corpora = " + ".join(sorted({corpus or "unnamed corpus" for corpus in table["corpus"]}))
        speakers = table.loc[table["speaker"] != "", "speaker"].nunique()
        unknown = int((table["speaker"] == "").sum())
        text = (
            f"{corpora}; {len(table):,} clips, {table['emotion'].nunique()} classes, {speakers} speakers"
            f"{f' ({unknown:,} clips of unknown speakers)' if unknown else ''}; {self.name}: {self.sentence}"
        )
        aside = len(self.put_aside(table))
        return f"{text}; {aside:,} clips put aside" if aside else text


def rotate(parts: Mapping[str, Indices]) -> list[Fold]:
    """Make a fold of each part: it is tested, and all the others are trained on."""
    if len(parts) < 2:
        found = next(iter(parts), "") or "none with a name"
        raise ProtocolError(
            f"two groups or more are needed to test one and train on the others; found only: {found}",
            remedy="Add recordings, or use another protocol.",
        )
    everything = np.sort(np.concatenate(list(parts.values())))
    return [Fold(name, np.setdiff1d(everything, part), np.sort(part)) for name, part in parts.items()]


def deal_speakers(table: pd.DataFrame, n_parts: int, seed: int) -> list[Indices]:
    """Divide rows into parts without a common speaker, as even in corpora, genders and emotions as speakers allow.

    Returns:
        As many parts as asked for, or as there are speakers if these are fewer; row numbers count within `table`.

    Raises:
        ProtocolError: with fewer than two speakers.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    speakers = table["speaker"].to_numpy()
    n_parts = min(n_parts, len(set(speakers)))
    if n_parts < 2:
        raise ProtocolError(
            f"speakers cannot be kept apart: there is {'one speaker' if n_parts else 'no known speaker'}",
            remedy="Add recordings of more speakers, or use --protocol random and say that it is speaker-dependent.",
        )
    columns = [table[column].tolist() for column in _SPREAD if column in table.columns]
    strata = np.array(["|".join(values) for values in zip(*columns, strict=True)], dtype=object)
    rows = np.zeros(len(table))
    if np.unique(strata, return_counts=True)[1].max() >= n_parts:
        # Alphabetical order, so that the dealing does not depend on the order of the rows.
        order = np.lexsort((strata, speakers))
        splitter = StratifiedGroupKFold(n_splits=n_parts, shuffle=True, random_state=seed)
        parts = _test_parts(splitter, rows, strata[order], speakers[order])
        if all(len(part) for part in parts):
            return [np.sort(order[part]) for part in parts]
    # Its greedy dealing can leave a part empty when speakers are few and of very unequal size.
    return _test_parts(GroupKFold(n_splits=n_parts, shuffle=True, random_state=seed), rows, strata, speakers)


def _test_parts(splitter: Any, rows: Any, strata: Any, speakers: Any) -> list[Indices]:
    with warnings.catch_warnings():
        # A stratum with fewer rows than folds cannot be in every fold: that is no news here.
        warnings.filterwarnings("ignore", message="The least populated class")
        return [test for _, test in splitter.split(rows, strata, speakers)]


def known_speakers(table: pd.DataFrame, unknown_speakers: UnknownSpeakers) -> Indices:
    """Give the rows whose speaker is known; what happens to others is said in `protocols.SpeakerFolds`."""
    if unknown_speakers not in ("error", "aside"):
        raise ParameterError(f"unknown_speakers must be 'error' or 'aside', got {unknown_speakers!r}")
    unknown = (table["speaker"] == "").to_numpy()
    if unknown.any() and unknown_speakers == "error":
        corpora = ", ".join(sorted({corpus or "unnamed" for corpus in table["corpus"][unknown]}))
        raise ProtocolError(
            f"{int(unknown.sum()):,} of {len(table):,} clips have an unknown speaker (corpus: {corpora})",
            code="unknown_speakers",
            remedy="Fill in the column 'speaker', or leave those rows out (emovox evaluate: --skip-unknown-speakers).",
        )
    return np.flatnonzero(~unknown)


def _manifest_of(X: Any, groups: Any) -> pd.DataFrame:
    for candidate in (groups, X):
        if isinstance(candidate, pd.DataFrame) and {"corpus", "speaker", "emotion"} <= set(candidate.columns):
            return candidate
    raise ParameterError(
        "a protocol divides a manifest, and got none", remedy="Give the manifest as X, or as groups beside features."
    )


def slug(text: str) -> str:
    """Make a text safe in file names."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text)
