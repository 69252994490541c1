"""A reference that moves as speech comes in: what a stream knows of a voice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from emovox.errors import BundleError, ParameterError
from emovox.inference.adaptation import Parts, Reference, weighted_mean
from emovox.inference.bundle import Bundle, Floats
from emovox.inference.log_ratios import log_ratios, measured_from, telling, trust

CLIP_S = 3.0
"""Seconds of speech that count as one clip in a stream."""

HALF_LIFE_S = 300.0
"""In a stream, speech counts half after so many further seconds of speech: about a hundred utterances, so that no
single mood fills the memory, and a new voice or microphone is followed within minutes."""

LARGEST_WEIGHT_S = HALF_LIFE_S / math.log(2)
"""What a running reference weighs after hours of speech, in seconds: no other one may weigh more."""


class RunningReference:
    """A reference, as log ratios, that starts from the default and moves as speech comes in.

    Utterances count by their length; speech counts half after `half_life_s` further seconds of speech (pauses do not
    count). Read `value` before `update`, so that an utterance is not measured from itself.

    Args:
        size: number of labels.
        spread: `BundleMetadata.spread` of the model.
        half_life_s: in seconds of speech, > 0; infinite to forget nothing.

    Attributes:
        seconds: how much was heard so far.
        weight_s: what is left of `seconds` where old speech counts less.

    Example:
        >>> running = RunningReference(2)
        >>> running.value.tolist()
        [0.0, 0.0]
        >>> running.update([5.0, -5.0], 3.0)
        >>> running.value.tolist()
        [1.0, -1.0]
    """

    def __init__(self, size: int, *, spread: float | None = None, half_life_s: float = HALF_LIFE_S) -> None:
        if size < 2 or not half_life_s > 0:
            raise ParameterError(f"two labels and a positive half_life_s are needed, got {size} and {half_life_s}")
        self.spread = spread
        self.seconds = 0.0
        self.weight_s = 0.0
        self._half_life_s = half_life_s
        self._sum = np.zeros(size, np.float64)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of what was heard, by weight, shape (size,); zeros before the first update."""
        return self._sum / self.weight_s if self.weight_s else np.zeros_like(self._sum)

    @property
    def value(self) -> Floats:
        """What is to be subtracted now, shape (size,); zeros before the first update."""
        return np.asarray(trust(self.weight_s / CLIP_S, self.mean, self.spread) * self.mean, dtype=np.float32)

    def resume(self, mean: npt.ArrayLike, *, weight_s: float, seconds: float) -> None:
        """Go on from the `mean`, `weight_s` and `seconds` of another one.

        Raises:
            ParameterError: if they are none.
        """
        row = np.asarray(mean, dtype=np.float64)
        finite = all(math.isfinite(value) and value >= 0 for value in (weight_s, seconds)) and np.isfinite(row).all()
        if row.shape != self._sum.shape or not finite:
            raise ParameterError(f"no state of a running reference of {len(self._sum)} values")
        self.weight_s, self.seconds = weight_s, seconds
        self._sum = weight_s * row

    def update(self, ratios: npt.ArrayLike, seconds: float) -> None:
        """Take in the next utterance.

        Args:
            ratios: log ratios of the utterance, shape (size,), finite.
            seconds: its length, > 0.

        Raises:
            ParameterError: if they are none, or it is no length; nothing is changed then.
        """
        row = np.asarray(ratios, dtype=np.float64)
        if row.shape != self._sum.shape or not np.isfinite(row).all():
            raise ParameterError(f"an utterance has {len(self._sum)} finite log ratios, got the shape {row.shape}")
        if not (math.isfinite(seconds) and seconds > 0):
            raise ParameterError(f"an utterance has a length in seconds, got {seconds}")
        kept = 0.5 ** (seconds / self._half_life_s)
        self._sum = kept * self._sum + seconds * row
        self.weight_s = kept * self.weight_s + seconds
        self.seconds += seconds


class Voice:
    """What a stream knows of the voice that it hears: the running reference of its utterances, as log ratios.

    Args:
        bundle: the model.
        start: the reference that the bundle's results are measured from already; where the voice starts from.

    Raises:
        BundleError: ``cannot_adapt``.
    """

    def __init__(self, bundle: Bundle, *, start: Reference | None = None) -> None:
        bundle.require_adaptable()
        if bundle.meta.neutral is None:
            raise BundleError(
                f"cannot adapt in streams: the model {bundle.identity} says nothing of its default reference",
                code="cannot_adapt",
                path=bundle.path,
                remedy="Export it with this version of emovox, or use another model.",
            )
        self.labels = bundle.meta.labels
        self._neutral = np.asarray(bundle.meta.neutral, dtype=np.float64)
        self._running = RunningReference(len(self.labels), spread=bundle.meta.spread)
        if start is not None:  # counted from the reference, its clips are 0 on average, but for what was not trusted
            weight_s = min(start.clips * CLIP_S, LARGEST_WEIGHT_S)
            self._running.resume(np.zeros(len(self.labels)), weight_s=weight_s, seconds=start.seconds)

    @property
    def seconds(self) -> float:
        """How much speech the reference holds; 0 leaves results unadapted."""
        return self._running.seconds

    def measure(self, parts: Parts) -> Floats:
        """Give the adapted probabilities of some sound, shape (labels,)."""
        return weighted_mean(measured_from(parts.probabilities, self._running.value), parts.weights)

    def hear(self, parts: Parts, seconds: float) -> None:
        """Take in an utterance, or what of it is a voice; `measure` it before, or it is measured from itself."""
        kept = telling(parts.probabilities)
        if kept.any():
            ratios, weights = log_ratios(parts.probabilities[kept], self._neutral), parts.weights[kept]
            seconds *= float(weights.sum() / parts.weights.sum())
            self._running.update(np.average(ratios, axis=0, weights=weights), seconds)

    def to_dict(self) -> dict[str, Any]:
        """Give what is known as plain data for JSON, for `resume`."""
        mean = {label: round(float(value), 6) for label, value in zip(self.labels, self._running.mean, strict=True)}
        return {
            "seconds": round(self.seconds, 3),
            "weight_s": round(self._running.weight_s, 6),
            "log_ratios": mean,
        }

    def resume(self, *, seconds: float, weight_s: float, log_ratios: Mapping[str, float]) -> None:
        """Go on from what `to_dict` gave.

        Raises:
            KeyError: if it is of a model with other labels.
            ParameterError: if a value makes no sense.
        """
        mean = [log_ratios[label] for label in self.labels]
        self._running.resume(mean, weight_s=min(weight_s, LARGEST_WEIGHT_S), seconds=seconds)
