"""The linear layer of speechnet: a discriminant that reads emotion from a voice as it is and from a centred one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
OFFSET_ROUNDS = 3
"""How often class means and speakers' offsets are estimated in turn."""


@dataclass(frozen=True)
class Discriminant:
    """A fitted linear layer.

    Attributes:
        mean: of the rows that it was fitted to, shape (size,).
        coef: shape (classes, size). intercept: shape (classes,), for rows from which `mean` was taken.
    """

    mean: Floats
    coef: Floats
    intercept: Floats

    def logits(self, rows: Floats) -> Floats:
        """Map rows (n, size) to (n, classes)."""
        return np.asarray((rows - self.mean) @ self.coef.T + self.intercept)


def fit_discriminant(
    rows: Floats,
    classes: npt.NDArray[np.intp],
    weight: Floats,
    *,
    speakers: npt.NDArray[np.intp] | None = None,
    shrinkage: float = 0.25,
) -> Discriminant:
    """Fit Fisher's linear discriminant with a shrunk covariance (Friedman, 1989), all classes alike likely.

    With speakers, every row is learned twice, each time with half its weight: as it is, and with the offset of its
    speaker taken away. So one layer serves a voice of which nothing is known, and one whose offset was taken away by
    adaptation.

    Args:
        rows: shape (n, size).
        classes: of each row, 0 .. classes - 1, shape (n,); each occurs.
        weight: of each row, shape (n,), positive.
        speakers: of each row, shape (n,), counted from 0; None where they are not known.
        shrinkage: of the covariance within classes towards a multiple of the identity, above 0 and at most 1. Each
            column is scaled to a variance of 1 before.

    Example:
        >>> rows = np.array([[0.0, 1.0], [0.2, 0.0], [1.0, 0.1], [1.2, 0.9]])
        >>> layer = fit_discriminant(rows, np.array([0, 0, 1, 1]), np.ones(4))
        >>> layer.logits(rows).argmax(axis=1).tolist()
        [0, 0, 1, 1]
    """
    share = (weight / weight.sum()).astype(rows.dtype)
    mean = share @ rows
    centred = rows - mean
    both, shares, targets = [centred], [share], classes
    if speakers is not None:
        both.append(centred - speaker_offsets(centred, classes, speakers, share))
        shares = [share / 2, share / 2]
        targets = np.concatenate([classes, classes])
    scale = np.sqrt(np.concatenate(shares[-1:]) @ np.square(both[-1]) / shares[-1].sum()) + 1e-6
    stacked, shares_of = np.concatenate(both) / scale, np.concatenate(shares)
    means = _class_means(stacked, targets, shares_of)
    within = (stacked - means[targets]) * np.sqrt(shares_of)[:, None]
    covariance = (within.T @ within).astype(np.float64)
    level = np.trace(covariance) / len(covariance)
    covariance *= 1.0 - shrinkage
    covariance[np.diag_indices_from(covariance)] += shrinkage * level
    coef = cho_solve(cho_factor(covariance), means.T.astype(np.float64)).T
    return Discriminant(mean, coef / scale, -0.5 * np.einsum("ij,ij->i", coef, means))


def add_discriminants(layers: Sequence[Discriminant], shares: Sequence[float]) -> Discriminant:
    """Make one layer of layers that each read other columns of the same rows: their logits are weighted and added.

    Args:
        layers: in the order of their columns.
        shares: weight of each one's logits.
    """
    return Discriminant(
        np.concatenate([layer.mean for layer in layers]),
        np.concatenate([share * layer.coef for layer, share in zip(layers, shares, strict=True)], axis=1),
        np.sum([share * layer.intercept for layer, share in zip(layers, shares, strict=True)], axis=0),
    )


def speaker_offsets(
    rows: Floats, classes: npt.NDArray[np.intp], speakers: npt.NDArray[np.intp], weight: Floats
) -> Floats:
    """Estimate by how much each speaker's rows lie beside everybody's, whatever emotions the speaker has.

    Additive model: a row is the mean of its class, plus the offset of its speaker, plus a rest. Means and offsets are
    found in turn; the classes of a speaker count alike.

    Returns:
        The offset of each row's speaker, shape (n, size).
    """
    offsets = np.zeros_like(rows)
    for _ in range(OFFSET_ROUNDS):
        beside = rows - _class_means(rows - offsets, classes, weight)[classes]
        for speaker in np.unique(speakers):
            own = np.flatnonzero(speakers == speaker)
            offsets[own] = np.mean([beside[own[classes[own] == one]].mean(axis=0) for one in set(classes[own])], axis=0)
    return offsets


def _class_means(rows: Floats, classes: npt.NDArray[np.intp], weight: Floats) -> Floats:
    return np.stack(
        [weight[classes == one] @ rows[classes == one] / weight[classes == one].sum() for one in np.unique(classes)]
    )
