"""What a teacher says at each step of a clip, in few numbers.

A student that has to give the teacher's mean over a clip only has to find out by itself what the mean is made of. Hints
(Romero et al., "FitNets: Hints for Thin Deep Nets", 2015) tell it: the teacher's states step by step, here without what
comes from their position alone, and on their first principal components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from torch import Tensor

from emovox.models.student import Heard

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
PARTS = 128
"""Principal components that are kept."""

_ENOUGH = 100
"""Clips whose mean tells what comes from a position alone."""

_ROWS = 100_000
"""Steps that the components are found from."""


@dataclass(frozen=True)
class Hints:
    """Turns states into hints.

    Attributes:
        position: what a state has by its position alone, shape (positions, size); the last row holds from there on.
        components: scikit-learn's principal components of the rest.
        scale: by which the components are divided, so that their variances have a mean of 1.
    """

    position: Floats
    components: PCA
    scale: float

    def of(self, states: Floats) -> npt.NDArray[np.float16]:
        """Map the states of a clip (steps, size) to (steps, parts)."""
        return np.asarray(self.components.transform(self._rest(states)) / self.scale, np.float16)

    def _rest(self, states: Floats) -> Floats:
        return states.astype(np.float32) - self.position[np.minimum(np.arange(len(states)), len(self.position) - 1)]


def find_hints(clips: Sequence[Floats], *, parts: int = PARTS) -> Hints:
    """Find what is worth saying of the states of many clips, each of shape (steps, size)."""
    longest = max(map(len, clips))
    total, count = np.zeros((longest, clips[0].shape[1])), np.zeros(longest)
    for states in clips:
        total[: len(states)] += states
        count[: len(states)] += 1
    enough = int(np.sum(count >= min(_ENOUGH, len(clips))))
    position = (total[:enough] / count[:enough, None]).astype(np.float32)
    plain = Hints(position, PCA(), 1.0)
    every = max(1, sum(map(len, clips)) // _ROWS)
    rows = np.concatenate([plain._rest(states)[offset % every :: every] for offset, states in enumerate(clips)])
    components = PCA(min(parts, *rows.shape), svd_solver="covariance_eigh").fit(rows)
    return Hints(position, components, float(np.sqrt(components.explained_variance_.mean())) + 1e-6)


def by_step(states: Tensor, heard: Heard) -> npt.NDArray[np.float16]:
    """Give a teacher's states (steps of 320 samples, size) for each step of the student, which has half as many.

    Returns:
        Shape (steps of the student, size): for each the mean of the two of the teacher, from where `heard` begins.
    """
    steps = -(-len(heard.kept) // 4)
    own = states[heard.start // 2 :][: 2 * steps]
    twice = np.minimum(np.arange(2 * steps), len(own) - 1)  # the last one may be half a step
    mean: npt.NDArray[np.float16] = own[twice].reshape(steps, 2, -1).mean(dim=1).half().numpy()
    return mean
