"""What a reference does to probabilities, told from probabilities alone: no second run, and no embedding.

With logits = W (embedding - reference) + b, W embedding = log p - log neutral up to a constant, where neutral =
softmax(b) is what the model says of the default reference (`BundleMetadata.neutral`). So the mean of these log ratios
(centred: Aitchison, 1986) over some clips, taken from log p, does what their mean embedding does inside the graph. It
has one number a label, and the browser computes it likewise (`server/page/voice.js`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emovox.inference.bundle import Floats

SMALLEST_PROBABILITY = 1e-30
"""Below it float32 has fewer digits, and soon none."""

UNTOLD = 0.9
"""Where each emotion has so much of an equal share of probability or more, nothing is told: such a sound is no voice
(`emovox.models.voice_gate`). It takes no part in a reference, and none is taken from it."""

PRIOR_CLIPS = 4.0
"""The mean of so many clips owes as much to the emotions in them as to whose voice it is, where that is a usual one."""

Ratios = npt.NDArray[np.float64]


def log_ratios(probabilities: npt.ArrayLike, neutral: npt.ArrayLike) -> Ratios:
    """Tell what the embedding adds to each logit: clr(p) - clr(neutral), with clr(p) = log p - mean(log p).

    Args:
        probabilities: shape (n, labels), unadapted; below `SMALLEST_PROBABILITY` they count as that.
        neutral: shape (labels,).

    Returns:
        Shape (n, labels), rows with sum 0.

    Example:
        >>> log_ratios([[0.5, 0.5]], [0.2, 0.8]).round(3).tolist()
        [[0.693, -0.693]]
    """
    found = _logs(probabilities) - _logs(neutral)
    return np.asarray(found - found.mean(axis=-1, keepdims=True))


def measured_from(probabilities: npt.ArrayLike, reference: npt.ArrayLike) -> Floats:
    """Take a reference from log probabilities; rows that tell nothing (`telling`) stay as they are.

    Args:
        probabilities: shape (n, labels), unadapted.
        reference: log ratios, shape (labels,).

    Returns:
        Adapted probabilities, shape (n, labels).

    Example:
        >>> measured_from([[0.4, 0.6]], log_ratios([[0.4, 0.6]], [0.2, 0.8])[0]).round(3).tolist()
        [[0.20000000298023224, 0.800000011920929]]
    """
    logs = _logs(probabilities) - np.asarray(reference, dtype=np.float64)
    exponents = np.exp(logs - logs.max(axis=-1, keepdims=True))
    moved = exponents / exponents.sum(axis=-1, keepdims=True)
    return np.where(telling(probabilities)[:, None], moved, probabilities).astype(np.float32)


def trust(clips: float, ratios: npt.ArrayLike, spread: float | None) -> float:
    """Tell how much of the mean of some clips is their voice's; the rest is chance: which emotions were in them.

    Log ratios of the clips of a voice scatter around it with the variance `spread`, and so does the mean of n clips
    with spread / n. Voices scatter with spread / `PRIOR_CLIPS`, or with more where the mean itself lies farther away.
    So much of the mean is kept as is likeliest the voice's: few clips move a usual voice a little, most often, and one
    of another kind, or in another room, almost whole. Empirical Bayes: Efron & Morris, 1973, after James & Stein, 1961.

    Args:
        clips: how many, >= 0.
        ratios: their mean log ratios, shape (labels,).
        spread: `BundleMetadata.spread`; None where it is unknown, and every voice counts as a usual one.

    Returns:
        1 - 1 / max(1 + n / `PRIOR_CLIPS`, n |ratios|^2 / (spread (labels - 1))), between 0 and 1.

    Example:
        >>> trust(4, [0.1, -0.1], 1.0), trust(4, [2.0, -2.0], 1.0)
        (0.5, 0.96875)
    """
    row = np.asarray(ratios, dtype=np.float64)
    surprise = 0.0 if not spread else float(row @ row) / (spread * (len(row) - 1))
    return 1.0 - 1.0 / max(1.0 + clips / PRIOR_CLIPS, clips * surprise)


def telling(probabilities: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Say which rows of probabilities, shape (n, labels), tell anything at all, shape (n,); see `UNTOLD`.

    Example:
        >>> telling([[0.5, 0.3, 0.2], [0.34, 0.33, 0.33]]).tolist()
        [True, False]
    """
    rows = np.asarray(probabilities)
    return np.asarray(rows.min(axis=-1) < UNTOLD / rows.shape[-1])


def _logs(probabilities: npt.ArrayLike) -> Ratios:
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST_PROBABILITY))
