"""From recordings to emotions: one, or thousands with decoding beside inference."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from emovox import audio
from emovox.audio import DEFAULT_LIMITS, Limits, Samples, Waveform
from emovox.errors import AdaptationError, BundleError, ParameterError
from emovox.inference.adaptation import Heard, Parts, Reference, gather
from emovox.inference.ahead import ahead
from emovox.inference.bundle import Bundle, BundleMetadata, Floats, available_threads
from emovox.inference.inputs import LONGEST_FEATURES_S, feature_function
from emovox.inference.recordings import Recording as Recording
from emovox.inference.recordings import expand as expand
from emovox.inference.recordings import name_of
from emovox.inference.results import Failure as Failure
from emovox.inference.results import Prediction as Prediction
from emovox.inference.results import failure

if TYPE_CHECKING:
    from emovox.inference.utterances import Utterance

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Recognizer:
    """Recognises the emotion of recordings with a bundle. It may be used from several threads at a time.

    Args:
        bundle: a loaded bundle, a bundle's file, or the name of a packaged one; None takes the default one.
        min_confidence: predictions below this probability get the emotion None.
        threads: threads that the model computes with; None takes the processors at hand, at most 4.
        limits: which recordings are accepted.
        adapt: a reference that all recordings are measured from, or its file; None leaves the model unadapted.

    Raises:
        BundleError: if the bundle cannot be loaded; ``cannot_adapt``, if it takes no reference.
        AdaptationError: if the reference cannot be read, or belongs to another bundle.

    Attributes:
        bundle: the model.
        reference: the reference; None if unadapted.

    Example:
        >>> recognizer = Recognizer("model.onnx")                           # doctest: +SKIP
        >>> recognizer.predict("hello.wav").emotion                         # doctest: +SKIP
        'happy'
        >>> mine = Recognizer(adapt=recognizer.adapt("recordings of me"))   # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        *,
        min_confidence: float = 0.0,
        threads: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
        adapt: Reference | str | os.PathLike[str] | None = None,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise ParameterError(f"min_confidence must lie in 0..1, got {min_confidence}")
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle, threads=threads)
        self.min_confidence = min_confidence
        self.limits = limits
        self._features = feature_function(self.bundle)
        self.reference = adapt if isinstance(adapt, Reference | None) else Reference.load(adapt)
        if self.reference is not None:
            self.reference.require(self.bundle)

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
        return self._infer(self._prepare(self._recording(source, rate)))

    def embed(self, source: Recording | npt.NDArray[Any], *, rate: int | None = None) -> Floats:
        """Give the embedding of one recording, relative to the mean of the training data and never adapted.

        Args:
            source, rate: as for `predict`. Of a long recording it is the mean of the parts by their lengths.

        Returns:
            Shape (`bundle.embedding_size`,).

        Raises:
            AudioError: as `predict`.
            BundleError: ``cannot_adapt``, if the model gives no embeddings; ``failed`` as `predict`.
        """
        self.bundle.require_adaptable()
        return self._hear(self._prepare(self._recording(source, rate))).embedding

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
        return self._each(self._infer, sources, jobs)

    def hear_many(
        self, sources: Iterable[Recording | Failure] | str | os.PathLike[str], *, jobs: int | None = None
    ) -> Generator[Heard | Failure, None, None]:
        """Compute embeddings and unadapted probabilities of many recordings, as `predict_many` goes through them.

        Raises:
            BundleError: ``cannot_adapt``, if the model gives no embeddings.
        """
        self.bundle.require_adaptable()
        return self._each(self._hear, sources, jobs)

    def adapt(
        self, sources: Iterable[Recording | Failure] | str | os.PathLike[str], *, jobs: int | None = None
    ) -> Reference:
        """Make a reference of unlabelled recordings of one speaker, microphone or room; `docs/adapt.md` says which.

        Recordings that cannot be used are named in the log and passed over; so are those that are silent or shorter
        than half a second. This recognizer stays as it is: give the reference to another one.

        Args:
            sources, jobs: as for `predict_many`.

        Raises:
            AdaptationError: ``no_clips``, if none could be used.
            BundleError: ``cannot_adapt``, if the model takes no reference.
        """
        heard = []
        for item in self.hear_many(sources, jobs=jobs):
            if isinstance(item, Failure):
                logger.warning("passed over: %s", item.error)
            else:
                heard.append(item)
        reference = gather(heard, self.bundle)
        if reference is None:
            raise AdaptationError(
                "none of the recordings can be adapted to",
                code="no_clips",
                remedy="Give some with half a second of speech or more.",
            )
        return reference

    def predict_adapted(
        self,
        sources: Iterable[Recording | Failure] | str | os.PathLike[str],
        *,
        speakers: Mapping[str, str] | None = None,
        jobs: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Prediction | Failure]:
        """Recognise the emotions of recordings, each measured from the mean of those that belong with it.

        Those of a folder belong together, and files that are named beside them with the folder in which they lie;
        where `speakers` names the speaker, those of a speaker. All are heard before the first result.

        Args:
            sources, jobs: as for `predict_many`.
            speakers: speaker of a recording, by its path.
            progress: called with (recordings heard, recordings in all).

        Yields:
            A prediction or a failure for each recording, in order. `Prediction.adapted_clips` tells what it was
            adapted with: 0 where only one clip belongs together, which has nothing to be measured from.

        Raises:
            BundleError: ``cannot_adapt``, if the model takes no reference.
            ParameterError: if this recognizer has a reference already.
        """
        from emovox.inference.groups import members, predict_members

        if isinstance(sources, str | os.PathLike):
            sources = [sources]
        return predict_members(self, members(sources, speakers), jobs=jobs, progress=progress)

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

    def probabilities(self, samples: Samples, rate: int) -> Floats:
        """Compute the probabilities of mono samples that are in memory and already checked, shape (labels,).

        Args:
            samples: shape (n,), float32.
            rate: sample rate in Hz: `meta.sample_rate`, or any if that is None.
        """
        return self.parts(samples, rate).mean

    def parts(self, samples: Samples, rate: int) -> Parts:
        """As `probabilities`, of each part that the model takes at once."""
        return self._run(self._inputs(samples, rate))

    def decide(self, probabilities: Floats) -> tuple[str | None, float]:
        """Give the most probable label (None if below `min_confidence`) and its probability."""
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        return (self.meta.labels[best] if confidence >= self.min_confidence else None), confidence

    def prediction(
        self, path: str | None, probabilities: Floats, duration_s: float, *, adapted_clips: int = 0
    ) -> Prediction:
        """Say what probabilities of shape (labels,) mean for a recording."""
        emotion, confidence = self.decide(probabilities)
        return Prediction(
            path=path,
            emotion=emotion,
            confidence=confidence,
            probabilities=dict(zip(self.meta.labels, map(float, probabilities), strict=True)),
            duration_s=duration_s,
            adapted_clips=adapted_clips,
        )

    def _recording(self, source: Recording | npt.NDArray[Any], rate: int | None) -> Recording:
        if isinstance(source, np.ndarray):
            if rate is None:
                raise ParameterError("an array needs its sample rate", remedy="Give rate=16000 or what it is.")
            return audio.from_array(source, source_rate=rate, rate=None, limits=self.limits)
        if rate is not None:
            raise ParameterError("rate is for arrays only; files say their own")
        return source

    def _each(
        self,
        use: Callable[[_Prepared], _Result],
        sources: Iterable[Recording | Failure] | str | os.PathLike[str],
        jobs: int | None,
    ) -> Generator[_Result | Failure, None, None]:
        jobs = available_threads() if jobs is None else jobs
        if jobs < 1:
            raise ParameterError(f"jobs must be at least 1, got {jobs}")
        if isinstance(sources, str | os.PathLike):
            sources = [sources]
        with closing(ahead(self._try_prepare, expand(sources), jobs)) as items:
            for item in items:
                if isinstance(item, Failure):
                    yield item
                    continue
                try:
                    result: _Result | Failure = use(item)
                except Exception as error:
                    result = failure(item.path, error)
                yield result

    def _prepare(self, source: Recording) -> _Prepared:
        rate = self.meta.sample_rate
        if isinstance(source, Waveform):
            waveform = audio.from_array(source.samples, source_rate=source.rate, rate=rate, limits=self.limits)
        else:
            waveform = audio.load(source, rate=rate, limits=self.limits)
        return _Prepared(name_of(source), waveform.duration_s, self._inputs(waveform.samples, waveform.rate))

    def _try_prepare(self, source: Recording | Failure) -> _Prepared | Failure:
        if isinstance(source, Failure):
            return source
        try:
            return self._prepare(source)
        except Exception as error:
            return failure(name_of(source), error)

    def _inputs(self, samples: Samples, rate: int) -> list[tuple[Floats, int]]:
        """Cut samples to what the model takes in one call; with each part goes its length."""
        longest = self.meta.max_seconds or LONGEST_FEATURES_S
        count = max(1, math.ceil(len(samples) / (longest * rate)))
        parts = np.array_split(samples, count)
        return [(part if self._features is None else self._features(part, rate), len(part)) for part in parts]

    def _infer(self, prepared: _Prepared) -> Prediction:
        with self._naming(prepared.path):
            parts = self._run(prepared.inputs)
        clips = 0 if self.reference is None else self.reference.clips
        found = self.prediction(prepared.path, parts.mean, prepared.duration_s, adapted_clips=clips)
        return replace(found, parts=parts)

    def _run(self, inputs: Sequence[tuple[Floats, int]]) -> Parts:
        given = () if self.reference is None else (self.reference.embedding,)
        rows = np.concatenate([self.bundle.run(values[None], *given) for values, _ in inputs])
        return Parts(rows, _lengths(inputs))

    def _hear(self, prepared: _Prepared) -> Heard:
        with self._naming(prepared.path):
            found = [self.bundle.run_and_embed(values[None]) for values, _ in prepared.inputs]
        return Heard(
            path=prepared.path,
            duration_s=prepared.duration_s,
            probabilities=np.concatenate([probabilities for probabilities, _ in found]),
            embeddings=np.concatenate([embeddings for _, embeddings in found]),
            weights=_lengths(prepared.inputs),
        )

    @contextmanager
    def _naming(self, path: str | None) -> Iterator[None]:
        try:
            yield
        except BundleError as error:
            message = f"{error.message} (model {self.meta.name})"
            raise BundleError(message, code=error.code, path=path, remedy=error.remedy) from error


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


@dataclass(frozen=True)
class _Prepared:
    path: str | None
    duration_s: float
    inputs: list[tuple[Floats, int]]


def _lengths(inputs: Sequence[tuple[Floats, int]]) -> npt.NDArray[np.float64]:
    return np.array([length for _, length in inputs], dtype=np.float64)
