"""emovox: emotion recognition in speech.

Example:
    >>> import emovox
    >>> emovox.predict("hello.wav").emotion                      # doctest: +SKIP
    'happy'
    >>> recognizer = emovox.Recognizer("my-model.onnx")          # doctest: +SKIP
    >>> for result in recognizer.predict_many("recordings"):     # doctest: +SKIP
    ...     print(result.path, result)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emovox.audio import Waveform, load
    from emovox.emotions import EMOTIONS
    from emovox.errors import AdaptationError, AudioError, BundleError, EmovoxError
    from emovox.inference.adaptation import Reference
    from emovox.inference.bundle import Bundle
    from emovox.inference.recognizer import Failure, Prediction, Recognizer, predict
    from emovox.inference.stream import TimelineSegment, timeline
    from emovox.inference.utterances import Utterance

__version__ = "0.1.0"

__all__ = [
    "EMOTIONS",
    "AdaptationError",
    "AudioError",
    "Bundle",
    "BundleError",
    "EmovoxError",
    "Failure",
    "Prediction",
    "Recognizer",
    "Reference",
    "TimelineSegment",
    "Utterance",
    "Waveform",
    "__version__",
    "load",
    "predict",
    "timeline",
]

_HOME = {
    **dict.fromkeys(("Waveform", "load"), "emovox.audio"),
    "EMOTIONS": "emovox.emotions",
    **dict.fromkeys(("AdaptationError", "AudioError", "BundleError", "EmovoxError"), "emovox.errors"),
    "Reference": "emovox.inference.adaptation",
    "Bundle": "emovox.inference.bundle",
    **dict.fromkeys(("Failure", "Prediction", "Recognizer", "predict"), "emovox.inference.recognizer"),
    **dict.fromkeys(("TimelineSegment", "timeline"), "emovox.inference.stream"),
    "Utterance": "emovox.inference.utterances",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that ``import emovox`` costs next to nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'emovox' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Show the whole public surface."""
    return sorted({*globals(), *__all__})
