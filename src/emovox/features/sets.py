"""The feature sets by name. A new one is a function of (samples, rate) and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from emovox.errors import FeatureError
from emovox.features.classic import CLASSIC_NAMES, CLASSIC_VERSION, classic
from emovox.features.logmel import LOGMEL_RATE, LOGMEL_SIZE, LOGMEL_VERSION, logmel

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """What the store, the command line and models need to know of a feature set.

    Attributes:
        name: its name, also in the store.
        version: changes whenever the function's values do; values of other versions are not reused.
        summary: one line for people.
        rate: sample rate in Hz that the function wants; None for each file's own.
        names: the columns, from first to last.
        per_clip: True if a clip gives a vector of shape (size,), False for a matrix of shape (frames, size).
        function: computes float32 from mono float32 samples (n,) and their rate. A function at the top level of a
            module, as worker processes import it.
    """

    name: str
    version: str
    summary: str
    rate: int | None
    names: tuple[str, ...]
    per_clip: bool
    function: Callable[[Floats, int], Floats]

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.names)

    def fits(self, values: npt.NDArray[np.generic]) -> bool:
        """Say whether an array can be a result of this set: its type, shape and finiteness."""
        shape_fits = values.shape == (self.size,) if self.per_clip else values.shape[1:] == (self.size,)
        return shape_fits and values.dtype == np.float32 and bool(np.isfinite(values).all())


FEATURE_SETS: Mapping[str, FeatureSet] = MappingProxyType(
    {
        item.name: item
        for item in (
            FeatureSet(
                name="classic",
                version=CLASSIC_VERSION,
                summary="means over the clip of 40 MFCC, 12 chroma and 128 mel bands, at the file's own rate",
                rate=None,
                names=CLASSIC_NAMES,
                per_clip=True,
                function=classic,
            ),
            FeatureSet(
                name="logmel",
                version=LOGMEL_VERSION,
                summary="Whisper's log-mel spectrogram: 80 bands, a frame every 10 ms, at 16 kHz",
                rate=LOGMEL_RATE,
                names=tuple(f"mel_{band}" for band in range(1, LOGMEL_SIZE + 1)),
                per_clip=False,
                function=logmel,
            ),
        )
    }
)


def feature_set(name: str) -> FeatureSet:
    """Find a feature set.

    Raises:
        FeatureError: if there is none of this name; the message lists those that exist.

    Example:
        >>> feature_set("classic").size
        180
    """
    if name not in FEATURE_SETS:
        raise FeatureError(f"there is no feature set {name!r}", remedy=f"There are: {', '.join(FEATURE_SETS)}.")
    return FEATURE_SETS[name]
