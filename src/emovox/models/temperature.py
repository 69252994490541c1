"""What a model's logits of people whom it has not heard tell: how sure it may be, and how far one voice's lie apart."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


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

    Each speaker's is the one under which the truth is likeliest (Guo et al., 2017). Their median is taken, not the one
    that is likeliest for all: a single speaker who is misunderstood throughout would make the model doubt everybody.

    Args:
        logits: shape (n, classes), of clips that what gave them has not learned from.
        truth: column of each clip's emotion, shape (n,).
        speakers: of each clip, shape (n,).

    Returns:
        Of 501 values between 0.1 and 10,000 each speaker's best; their median.

    Example:
        Three of four times right, with logits that say 0.88 each time:

        >>> logits = np.array([[2.0, 0.0]] * 4)
        >>> temperature = typical_temperature(logits, np.array([0, 0, 0, 1]), np.array(["a"] * 4))
        >>> softmax(logits / temperature)[0].round(2).tolist()
        [0.75, 0.25]
    """
    candidates = np.geomspace(0.1, 10_000.0, 501)
    found = []
    for speaker in np.unique(speakers):
        own = speakers == speaker
        losses = [_cross_entropy(logits[own] / candidate, truth[own]) for candidate in candidates]
        found.append(candidates[int(np.argmin(losses))])
    return float(np.median(found))


def spread_of_voices(logits: Floats, speakers: npt.NDArray[Any]) -> float:
    """Tell how far the logits of one voice lie apart, speakers counting alike.

    Args:
        logits: shape (n, classes), calibrated, of clips that what gave them has not learned from.
        speakers: of each clip, shape (n,); one of them has two clips or more.

    Returns:
        Mean variance of a speaker's centred logits per degree of freedom, of which there are classes - 1.

    Example:
        >>> spread_of_voices(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array(["a", "a"]))
        4.0
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    own = [centred[speakers == speaker] for speaker in np.unique(speakers)]
    total = [rows.var(axis=0, ddof=1).sum() for rows in own if len(rows) > 1]
    return float(np.mean(total) / (logits.shape[1] - 1))


def _cross_entropy(logits: Floats, truth: npt.NDArray[np.intp]) -> float:
    likelihood = softmax(logits)[np.arange(len(truth)), truth]
    return float(-np.log(likelihood + 1e-12).mean())
