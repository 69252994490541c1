"""What a model is given of a recording."""

from __future__ import annotations

from collections.abc import Callable

from emovox.audio import Samples
from emovox.errors import BundleError
from emovox.inference.bundle import Bundle, Floats

LONGEST_FEATURES_S = 300.0
"""Where a bundle sets no limit, longer recordings are cut all the same: a spectrogram of an hour fills gigabytes."""


def feature_function(bundle: Bundle) -> Callable[[Samples, int], Floats] | None:
    """Give what computes a bundle's features from samples and their rate in Hz; None if it takes the samples.

    Raises:
        BundleError: ``other_features``.
    """
    if bundle.meta.input == "waveform":
        return None
    from emovox.features.classic import CLASSIC_VERSION, classic

    trained_on = bundle.meta.feature_version
    if trained_on is not None and trained_on != str(CLASSIC_VERSION):
        raise BundleError(
            f"was trained on version {trained_on} of the features; this emovox computes version {CLASSIC_VERSION}",
            code="other_features",
            path=bundle.path,
            remedy="Use the emovox version that trained it, or train it again.",
        )
    return classic
