"""openSMILE's two standard sets of functionals: eGeMAPSv02, 88 numbers a clip, and ComParE 2016, 6,373.

Computed by the package `opensmile` of audEERING GmbH, which no other part of emovox needs (`pip install
'emovox[smile]'`). Its licence is not emovox's: the audEERING Research License allows non-commercial use and research
that is to be published; a product that uses the software, features computed with it or models trained on them needs a
commercial licence from audEERING.

References:
    Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective Computing",
    IEEE Transactions on Affective Computing 7(2), 2016.
    Schuller et al., "The INTERSPEECH 2016 Computational Paralinguistics Challenge", Interspeech 2016.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from emovox.errors import FeatureError, MissingExtraError

Floats: TypeAlias = npt.NDArray[np.float32]

SMILE_RATE = 16_000
EGEMAPS_SIZE, COMPARE_SIZE = 88, 6373
PACKAGE, EXTRA = "opensmile", "smile"
REVISION = "1"
"""Changes whenever what this file does around openSMILE does."""

MIN_SAMPLES = 960
"""60 ms: openSMILE's longest frame, that of the pitch. It gives no values for less."""
LOUDEST = 32_767 / 32_768
"""Largest sample of 16 bits, in which openSMILE takes sound."""


def egemaps(samples: Floats, rate: int = SMILE_RATE) -> Floats:
    """Compute the functionals of eGeMAPSv02 over the clip.

    The values are openSMILE's own, to the last bit. Where a functional is not defined (of a voiced part in a clip
    without one), openSMILE gives 0. Samples beyond full scale are clipped, as a sound card does: openSMILE would wrap
    them around to the other sign.

    Args:
        samples: mono, float32 of shape (n,), n >= 960 (60 ms), full scale 1.
        rate: sample rate in Hz; only 16,000 is defined here.

    Returns:
        float32 of shape (88,).

    Raises:
        FeatureError: if the rate is another, there are too few samples, or openSMILE gives a number that is not finite.
        MissingExtraError: if the package `opensmile` is not installed.
    """
    return _functionals("egemaps", samples, rate)


def compare(samples: Floats, rate: int = SMILE_RATE) -> Floats:
    """Compute the functionals of ComParE 2016 over the clip, float32 of shape (6373,); all else as in `egemaps`."""
    return _functionals("compare", samples, rate)


def version() -> str:
    """Name the version of the values: this file's revision and the release of the package.

    Raises:
        MissingExtraError: if the package `opensmile` is not installed.
    """
    import importlib.metadata

    try:
        return f"{REVISION}-{PACKAGE}-{importlib.metadata.version(PACKAGE)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing() from error


def egemaps_names() -> tuple[str, ...]:
    """Give the names of the columns of `egemaps`, as openSMILE has them."""
    return tuple(_extractor("egemaps").feature_names)


def compare_names() -> tuple[str, ...]:
    """Give the names of the columns of `compare`, as openSMILE has them."""
    return tuple(_extractor("compare").feature_names)


def _functionals(name: str, samples: Floats, rate: int) -> Floats:
    if rate != SMILE_RATE:
        raise FeatureError(f"{name} is defined at {SMILE_RATE} Hz, got {rate} Hz")
    if samples.ndim != 1 or len(samples) < MIN_SAMPLES:
        raise FeatureError(f"{name} needs one channel of {MIN_SAMPLES} samples at least, got the shape {samples.shape}")
    smile = _extractor(name)
    # Of shape (channels, features, frames): one of each but the features.
    values: Floats = smile(np.clip(samples, -1, np.float32(LOUDEST)), rate)[0, :, 0].astype(np.float32)
    if not np.isfinite(values).all():
        # Not replaced by a number that openSMILE did not compute.
        first = smile.feature_names[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise FeatureError(f"openSMILE gives no finite number for {first}", code="non_finite")
    return values


@lru_cache(maxsize=2)
def _extractor(name: str) -> Any:
    """Make an extractor, once a process: to load the package and to read the set's definition take a second."""
    try:
        import opensmile
    except ModuleNotFoundError as error:
        raise _missing() from error
    definition = {"egemaps": opensmile.FeatureSet.eGeMAPSv02, "compare": opensmile.FeatureSet.ComParE_2016}[name]
    return opensmile.Smile(definition, opensmile.FeatureLevel.Functionals, sampling_rate=SMILE_RATE, num_workers=1)


def _missing() -> MissingExtraError:
    return MissingExtraError.for_extra(EXTRA, "openSMILE's feature sets (egemaps, compare)")
