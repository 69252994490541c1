"""What a model's logits of people whom it has not heard tell: how sure it may be, and how far one voice's lie apart."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
CLIPS_TO_VOTE, VOTERS = 20, 3
"""Clips that tell the temperature of a speaker: of fewer all may be right by chance. Speakers whose median is one."""


def softmax(logits: Floats) -> Floats:
    """Turn logits (n, classes) into probabilities, each row of which adds up to 1.

    Example:
        >>> softmax(np.log([[1.0, 3.0]])).round(6).tolist()
        [[0.25, 0.75]]
    """
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def typical_temperature(logits: Floats, truth: npt.NDArray[np.intp], speakers: npt.NDArray[Any]) -> float:
    """Choose the temperature that suits the median speaker.

    A speaker's is the one under which the truth is likeliest (Guo et al., 2017). The median is taken, not the one that
    is likeliest for all: a single speaker who is misunderstood throughout would make the model doubt everybody. Those
    of fewer than `CLIPS_TO_VOTE` clips have no vote; where fewer than `VOTERS` are left, the one that is likeliest
    for all is taken, speakers counting alike.

    Args:
        logits: shape (n, classes), of clips that what gave them has not learned from.
        truth: column of each clip's emotion, shape (n,).
        speakers: of each clip, shape (n,).

    Returns:
        Between 0.1 and 10,000.

    Example:
        Three of four times right, with logits that say 0.88 each time:

        >>> logits = np.array([[2.0, 0.0]] * 4)
        >>> temperature = typical_temperature(logits, np.array([0, 0, 0, 1]), np.array(["a"] * 4))
        >>> softmax(logits / temperature)[0].round(2).tolist()
        [0.75, 0.25]
    """
    candidates = np.geomspace(0.1, 10_000.0, 501)
    names, speaker, clips = np.unique(speakers, return_inverse=True, return_counts=True)
    losses = np.empty((len(candidates), len(names)))
    for row, candidate in enumerate(candidates):
        likelihood = softmax(logits / candidate)[np.arange(len(truth)), truth]
        losses[row] = np.bincount(speaker.ravel(), -np.log(likelihood + 1e-12)) / clips
    votes = candidates[losses[:, clips >= CLIPS_TO_VOTE].argmin(axis=0)]
    return float(np.median(votes) if len(votes) >= VOTERS else candidates[losses.mean(axis=1).argmin()])


def spread_of_voices(logits: Floats, speakers: npt.NDArray[Any]) -> float | None:
    """Tell how far the logits of one voice lie apart, speakers counting alike.

    Args:
        logits: shape (n, classes), calibrated, of clips that what gave them has not learned from.
        speakers: of each clip, shape (n,).

    Returns:
        Mean variance of a speaker's centred logits per degree of freedom, of which there are classes - 1. None if no
        speaker has two clips that differ.

    Example:
        >>> spread_of_voices(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array(["a", "a"]))
        4.0
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    own = [centred[speakers == speaker] for speaker in np.unique(speakers)]
    total = [rows.var(axis=0, ddof=1).sum() for rows in own if len(rows) > 1]
    return float(np.mean(total) / (logits.shape[1] - 1)) if any(total) else None
