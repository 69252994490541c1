"""The feature sets by name. A new one is a function of (samples, rate) and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from emovox.errors import FeatureError
from emovox.features import smile
from emovox.features.classic import CLASSIC_NAMES, CLASSIC_SIZE, CLASSIC_VERSION, classic
from emovox.features.logmel import LOGMEL_RATE, LOGMEL_SIZE, LOGMEL_VERSION, logmel

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """What the store, the command line and models need to know of a feature set.

    Attributes:
        name: its name, also in the store.
        summary: one line for people.
        rate: sample rate in Hz that the function wants; None for each file's own.
        size: number of columns.
        per_clip: True if a clip gives a vector of shape (size,), False for a matrix of shape (frames, size).
        function: computes float32 from mono float32 samples (n,) and their rate. A function at the top level of a
            module, as worker processes import it.
        version_of, names_of: give `version` and `names`. Functions, as a set that another package computes has to ask
            it, and that package may be large or missing.
    """

    name: str
    summary: str
    rate: int | None
    size: int
    per_clip: bool
    function: Callable[[Floats, int], Floats]
    version_of: Callable[[], str]
    names_of: Callable[[], tuple[str, ...]]

    @property
    def version(self) -> str:
        """What changes whenever the function's values may do; values of other versions are not reused.

        Raises:
            MissingExtraError: if the package that computes the set is not installed.
        """
        return self.version_of()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, from first to last.

        Raises:
            MissingExtraError: if the package that computes the set is not installed.
        """
        return self.names_of()

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
                summary="means over the clip of 40 MFCC, 12 chroma and 128 mel bands, at the file's own rate",
                rate=None,
                size=CLASSIC_SIZE,
                per_clip=True,
                function=classic,
                version_of=lambda: CLASSIC_VERSION,
                names_of=lambda: CLASSIC_NAMES,
            ),
            FeatureSet(
                name="egemaps",
                summary="openSMILE's eGeMAPSv02, 88 functionals at 16 kHz; its licence: non-commercial use only",
                rate=smile.SMILE_RATE,
                size=smile.EGEMAPS_SIZE,
                per_clip=True,
                function=smile.egemaps,
                version_of=smile.version,
                names_of=smile.egemaps_names,
            ),
            FeatureSet(
                name="compare",
                summary="openSMILE's ComParE 2016, 6,373 functionals at 16 kHz; its licence: non-commercial use only",
                rate=smile.SMILE_RATE,
                size=smile.COMPARE_SIZE,
                per_clip=True,
                function=smile.compare,
                version_of=smile.version,
                names_of=smile.compare_names,
            ),
            FeatureSet(
                name="logmel",
                summary="Whisper's log-mel spectrogram: 80 bands, a frame every 10 ms, at 16 kHz",
                rate=LOGMEL_RATE,
                size=LOGMEL_SIZE,
                per_clip=False,
                function=logmel,
                version_of=lambda: LOGMEL_VERSION,
                names_of=lambda: tuple(f"mel_{band}" for band in range(1, LOGMEL_SIZE + 1)),
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
