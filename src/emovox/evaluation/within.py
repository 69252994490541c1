"""A protocol carried out within one corpus, while the others are put aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from emovox.errors import ProtocolError
from emovox.evaluation.splitting import EvaluationProtocol, Fold, Indices, slug


@dataclass(frozen=True)
class Within(EvaluationProtocol):
    """Another protocol on the rows of one corpus only.

    Args:
        protocol: how these rows are divided.
        corpus: name of the corpus.

    Example:
        >>> from emovox.evaluation.protocols import LeaveOneSpeakerOut
        >>> table = pd.DataFrame({"corpus": list("aabb"), "speaker": list("1234"), "emotion": "sad"})
        >>> [fold.test.tolist() for fold in Within(LeaveOneSpeakerOut(), "b").folds(table)]
        [[2], [3]]
    """

    name: ClassVar[str] = "within"
    protocol: EvaluationProtocol
    corpus: str

    @property
    def key(self) -> str:
        """``speaker-5-in-emodb``."""
        return slug(f"{self.protocol.key}-in-{self.corpus}")

    @property
    def sentence(self) -> str:
        """The inner protocol's, and the corpus."""
        return f"within {self.corpus}, {self.protocol.sentence}"

    def with_seed(self, seed: int) -> Self:
        """Give the same with another seed."""
        return type(self)(self.protocol.with_seed(seed), self.corpus)

    def separates_speakers(self, table: pd.DataFrame) -> bool:
        """Whether the inner protocol does."""
        return self.protocol.separates_speakers(table)

    def describe(self, table: pd.DataFrame) -> str:
        """Say in one line what a figure refers to; the other corpora are not counted."""
        return self.protocol.describe(table.iloc[self._rows(table)].reset_index(drop=True))

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Divide the corpus' rows.

        Raises:
            ProtocolError: if the table has no row of the corpus, or the inner protocol cannot be carried out.
        """
        rows = self._rows(table)
        inner = self.protocol.folds(table.iloc[rows].reset_index(drop=True))
        return [Fold(fold.name, rows[fold.train], rows[fold.test]) for fold in inner]

    def _rows(self, table: pd.DataFrame) -> Indices:
        rows = np.flatnonzero((table["corpus"] == self.corpus).to_numpy())
        if not len(rows):
            raise ProtocolError(f"no clip of {self.corpus} is among the rows")
        return rows
