"""From recordings to emotions: one, or thousands with decoding beside inference."""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from emovox import audio
from emovox.audio import DEFAULT_LIMITS, Limits, Samples, Waveform
from emovox.errors import AudioError, BundleError, EmovoxError, ParameterError
from emovox.inference.bundle import Bundle, BundleMetadata, available_threads

if TYPE_CHECKING:
    from emovox.inference.utterances import Utterance

Recording: TypeAlias = audio.Source | Waveform
"""A path, the bytes of a file, a binary file object, or a waveform in memory."""

LONGEST_FEATURES_S = 300.0
"""Where a bundle sets no limit, longer recordings are cut all the same: a spectrogram of an hour fills gigabytes."""

logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about a recording.

    Attributes:
        path: the recording; None if it has no name.
        emotion: the most probable label; None if its probability is below the wanted confidence.
        confidence: the largest probability, 0..1.
        probabilities: of all labels, in the bundle's order; they sum to 1.
        duration_s: length of the recording in seconds.
    """

    path: str | None
    emotion: str | None
    confidence: float
    probabilities: dict[str, float]
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON, numbers with six decimals."""
        return {
            "path": self.path,
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "probabilities": {label: round(value, 6) for label, value in self.probabilities.items()},
            "duration_s": round(self.duration_s, 6),
        }


@dataclass(frozen=True)
class Failure:
    """A recording that could not be used, and why."""

    path: str | None
    error: EmovoxError

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON."""
        message = f"{self.error.message.rstrip('.')}. {self.error.remedy}" if self.error.remedy else self.error.message
        return {"path": self.path, "error": {"code": self.error.code, "message": message}}


class Recognizer:
    """Recognises the emotion of recordings with a bundle. It may be used from several threads at a time.

    Args:
        bundle: a loaded bundle, a bundle's file, or the name of a packaged one; None takes the default one.
        min_confidence: predictions below this probability get the emotion None.
        threads: threads that the model computes with; None takes the processors at hand, at most 4.
        limits: which recordings are accepted.

    Raises:
        BundleError: if the bundle cannot be loaded.

    Example:
        >>> recognizer = Recognizer("model.onnx")                           # doctest: +SKIP
        >>> recognizer.predict("hello.wav").emotion                         # doctest: +SKIP
        'happy'
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        *,
        min_confidence: float = 0.0,
        threads: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise ParameterError(f"min_confidence must lie in 0..1, got {min_confidence}")
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle, threads=threads)
        self.min_confidence = min_confidence
        self.limits = limits
        self._features = _feature_function(self.bundle)

    @property
    def meta(self) -> BundleMetadata:
        """The description of the model."""
        return self.bundle.meta

    def predict(self, source: Recording | npt.NDArray[Any], *, rate: int | None = None) -> Prediction:
        """Recognise the emotion of one recording.

        A recording longer than the model takes at once is cut into equal parts, whose probabilities are averaged
        with their lengths as weights.

        Args:
            source: a path, the bytes of a file, a binary file object, a `Waveform`, or an array as
                `emovox.audio.from_array` takes it.
            rate: sample rate of an array, in Hz; of no use for anything else.

        Raises:
            AudioError: if it cannot be used; with a code of `emovox.audio`.
            BundleError: ``failed``, if the model cannot process it.
        """
        if isinstance(source, np.ndarray):
            if rate is None:
                raise ParameterError("an array needs its sample rate", remedy="Give rate=16000 or what it is.")
            source = audio.from_array(source, source_rate=rate, rate=None, limits=self.limits)
        elif rate is not None:
            raise ParameterError("rate is for arrays only; files say their own")
        return self._infer(self._prepare(source))

    def predict_many(
        self, sources: Iterable[Recording | Failure] | str | os.PathLike[str], *, jobs: int | None = None
    ) -> Generator[Prediction | Failure, None, None]:
        """Recognise the emotions of many recordings; those that cannot be used are reported and passed over.

        Recordings are decoded (and their features computed) in threads while the model works on earlier ones. Only a
        few are held at a time, so memory stays the same however many there are.

        Args:
            sources: recordings; folders among them are searched. Failures among them are handed through.
            jobs: threads that decode; None takes the processors at hand, at most 4.

        Yields:
            A prediction or a failure for each recording, in order.
        """
        jobs = available_threads() if jobs is None else jobs
        if jobs < 1:
            raise ParameterError(f"jobs must be at least 1, got {jobs}")
        if isinstance(sources, str | os.PathLike):
            sources = [sources]
        with closing(_ahead(self._try_prepare, expand(sources), jobs)) as items:
            for item in items:
                yield item if isinstance(item, Failure) else self._try_infer(item)

    def utterances(self, source: Recording) -> Iterator[Utterance]:
        """Find the utterances of a recording of any length and recognise the emotion of each.

        Args:
            source: a path, the bytes of a file, a binary file object, or a `Waveform`.

        Yields:
            Utterances in time order, as soon as they are known; none where nobody speaks.

        Raises:
            AudioError: with a code of `emovox.audio`; what was found before stays valid.
            BundleError: ``failed``, if the model cannot process it.

        Example:
            >>> for utterance in Recognizer().utterances("talk.mp3"):       # doctest: +SKIP
            ...     print(utterance.start_s, utterance.emotion)
        """
        from emovox.inference.utterances import utterances

        return utterances(source, self)

    def probabilities(self, samples: Samples, rate: int) -> npt.NDArray[np.float32]:
        """Compute the probabilities of mono samples that are in memory and already checked.

        Args:
            samples: shape (n,), float32.
            rate: sample rate in Hz: `meta.sample_rate`, or any if that is None.

        Returns:
            Shape (labels,).
        """
        return self._average(self._inputs(samples, rate))

    def decide(self, probabilities: npt.NDArray[np.float32]) -> tuple[str | None, float]:
        """Give the most probable label (None if below `min_confidence`) and its probability."""
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        return (self.meta.labels[best] if confidence >= self.min_confidence else None), confidence

    def _prepare(self, source: Recording) -> _Prepared:
        rate = self.meta.sample_rate
        if isinstance(source, Waveform):
            waveform = audio.from_array(source.samples, source_rate=source.rate, rate=rate, limits=self.limits)
        else:
            waveform = audio.load(source, rate=rate, limits=self.limits)
        return _Prepared(_name(source), waveform.duration_s, self._inputs(waveform.samples, waveform.rate))

    def _try_prepare(self, source: Recording | Failure) -> _Prepared | Failure:
        if isinstance(source, Failure):
            return source
        try:
            return self._prepare(source)
        except Exception as error:
            return _failure(_name(source), error)

    def _try_infer(self, prepared: _Prepared) -> Prediction | Failure:
        try:
            return self._infer(prepared)
        except Exception as error:
            return _failure(prepared.path, error)

    def _inputs(self, samples: Samples, rate: int) -> list[tuple[npt.NDArray[np.float32], int]]:
        """Cut samples to what the model takes in one call; with each part goes its length."""
        longest = self.meta.max_seconds or LONGEST_FEATURES_S
        count = max(1, math.ceil(len(samples) / (longest * rate)))
        parts = np.array_split(samples, count)
        return [(part if self._features is None else self._features(part, rate), len(part)) for part in parts]

    def _infer(self, prepared: _Prepared) -> Prediction:
        try:
            probabilities = self._average(prepared.inputs)
        except BundleError as error:
            message = f"{error.message} (model {self.meta.name})"
            raise BundleError(message, code=error.code, path=prepared.path) from error
        emotion, confidence = self.decide(probabilities)
        by_label = dict(zip(self.meta.labels, map(float, probabilities), strict=True))
        return Prediction(
            path=prepared.path,
            emotion=emotion,
            confidence=confidence,
            probabilities=by_label,
            duration_s=prepared.duration_s,
        )

    def _average(self, inputs: Sequence[tuple[npt.NDArray[np.float32], int]]) -> npt.NDArray[np.float32]:
        rows = np.concatenate([self.bundle.run(values[None]) for values, _ in inputs])
        weights = np.array([length for _, length in inputs], dtype=np.float64)
        return np.asarray(np.average(rows, axis=0, weights=weights), dtype=np.float32)


def predict(
    source: Recording | npt.NDArray[Any],
    *,
    rate: int | None = None,
    bundle: str | os.PathLike[str] | None = None,
) -> Prediction:
    """Recognise the emotion of one recording; for many, make a `Recognizer` once.

    Args:
        source, rate: as for `Recognizer.predict`.
        bundle: a bundle's file or name; None takes the default one, which stays loaded.

    Raises:
        AudioError, BundleError: as `Recognizer` and its `predict`.
    """
    recognizer = _default_recognizer() if bundle is None else Recognizer(bundle)
    return recognizer.predict(source, rate=rate)


@cache
def _default_recognizer() -> Recognizer:
    return Recognizer()


def expand(sources: Iterable[Recording | Failure]) -> Iterator[Recording | Failure]:
    """Replace folders by the recordings in them; a folder without any becomes a failure."""
    for source in sources:
        if not isinstance(source, str | os.PathLike) or not Path(source).is_dir():
            yield source
            continue
        empty = True
        for path in audio.find_audio([source]):
            empty = False
            yield path
        if empty:
            error = AudioError(
                "holds no recordings",
                code="no_recordings",
                path=source,
                remedy="Give a folder with WAV, FLAC, OGG, Opus, MP3, m4a or webm files, or name the files.",
            )
            yield Failure(os.fspath(source), error)


@dataclass(frozen=True)
class _Prepared:
    path: str | None
    duration_s: float
    inputs: list[tuple[npt.NDArray[np.float32], int]]


def _feature_function(bundle: Bundle) -> Callable[[Samples, int], npt.NDArray[np.float32]] | None:
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


def _name(source: Recording) -> str | None:
    return None if isinstance(source, Waveform) else audio.source_name(source)


def _failure(name: str | None, error: Exception) -> Failure:
    """Report an error instead of raising it, so that one recording cannot end the work on all others."""
    if isinstance(error, EmovoxError):
        return Failure(name, error)
    logger.debug("unexpected error with %s", name, exc_info=error)
    message = f"cannot be processed ({type(error).__name__}: {error})"
    return Failure(name, EmovoxError(message, code="unexpected", path=name))


def _ahead(function: Callable[[Any], _Result], items: Iterable[Any], jobs: int) -> Generator[_Result, None, None]:
    """Map in threads, in order, at most `jobs` + 1 items ahead of the consumer."""
    executor = ThreadPoolExecutor(jobs, thread_name_prefix="emovox-decode")
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
