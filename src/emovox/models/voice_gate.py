"""Tell a voice from other sounds, in the embedding from which emotions are told.

Emotions are classes of speech. Asked about a tone or a tune, a classifier of emotions names one of them all the same,
often with certainty; so how far a sound is a voice is measured beside, and what is none gets no emotion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
SURE, DOUBT = 0.85, 0.2
"""From where on a sound counts as a voice, and how far below it no longer does: 0 is noise, 1 is learned speech."""

LEAST = 0.05
"""What is no voice at all still counts as much: the order of emotions stays, and a tie says nothing."""

RARE = 0.005
"""Share of the learned speech that may count as less than a voice."""


@dataclass(frozen=True)
class VoiceGate:
    """A linear measure of how much an embedding is that of a voice.

    Attributes:
        coef: shape (size,). intercept: so that rows of speech give about 1, background sounds about 0.
        sure: from here on it is a voice, from `DOUBT` below on it is none.
    """

    coef: Floats
    intercept: float
    sure: float

    def voice(self, rows: Floats) -> Floats:
        """Tell how far rows (n, size) are voices: `LEAST` to 1, shape (n,). Almost all speech gives exactly 1."""
        coef, intercept = self.ramp()
        return np.asarray(np.clip(rows @ coef + intercept, LEAST, 1.0))

    def ramp(self) -> tuple[Floats, float]:
        """Give coefficients (size,) and intercept of what rises from 0 to 1 where it is doubtful."""
        return self.coef / DOUBT, (self.intercept - self.sure + DOUBT) / DOUBT


def fit_voice_gate(
    speech: Floats, classes: npt.NDArray[np.intp], weight: Floats, background: Floats, *, shrinkage: float = 0.25
) -> VoiceGate:
    """Fit Fisher's discriminant between speech and background, with the shrunk covariance of speech alone.

    Args:
        speech: shape (n, size). classes: emotion of each row, shape (n,). weight: of each row, shape (n,), positive.
        background: embeddings of other sounds, shape (m, size).
        shrinkage: as for `emovox.models.discriminant.fit_discriminant`.
    """
    share = weight / weight.sum()
    mean = share @ speech
    scale = np.sqrt(share @ np.square(speech - mean)) + 1e-6
    within = (speech - mean) / scale
    for one in np.unique(classes):
        own = classes == one
        within[own] -= share[own] @ within[own] / share[own].sum()
    within *= np.sqrt(share)[:, None]
    covariance = (within.T @ within).astype(np.float64)
    level = np.trace(covariance) / len(covariance)
    covariance *= 1.0 - shrinkage
    covariance[np.diag_indices_from(covariance)] += shrinkage * level + 1e-12
    coef = cho_solve(cho_factor(covariance), ((mean - background.mean(axis=0)) / scale).astype(np.float64)) / scale
    low, high = background.mean(axis=0) @ coef, mean @ coef
    coef, intercept = coef / (high - low), float(-low / (high - low))
    return VoiceGate(coef, intercept, min(SURE, float(np.quantile(speech @ coef + intercept, RARE))))
