"""The models of one process and the work that waits for them, off the event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

import numpy as np

from emovox import audio
from emovox.audio import Limits, Samples, Waveform
from emovox.errors import BundleError, EmovoxError, ParameterError
from emovox.inference.adaptation import Parts
from emovox.inference.bundle import available_threads, packaged_bundles
from emovox.inference.recognizer import Failure, Prediction, Recognizer
from emovox.inference.stream import TimelineSegment, timeline
from emovox.inference.utterances import Utterance
from emovox.inference.utterances import utterances as utterances_of
from emovox.server.batching import Batcher, SharedBundle
from emovox.server.metrics import Metrics
from emovox.server.problems import QueueFullError, RequestError
from emovox.server.settings import ServerSettings

ANY_LENGTH = Limits(min_duration_s=0.0, silence_peak=-1.0)
"""What a stream gives is its own affair: pauses and short words are no faults."""

logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Model:
    """A bundle that is served.

    Attributes:
        recognizer: gives the answers.
        bundle: its bundle, shared by all requests.
        path: its file.
        sha256: of the file, hexadecimal.
    """

    recognizer: Recognizer
    bundle: SharedBundle
    path: Path
    sha256: str

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.bundle.meta.name

    def summary(self) -> dict[str, Any]:
        """Describe it for programs and for the page."""
        meta = self.bundle.meta
        return {
            **meta.summary(),
            "training": dict(meta.training),
            "scores": [dict(score) for score in meta.scores],
            "max_seconds": meta.max_seconds,
            "neutral": None if meta.neutral is None else list(meta.neutral),
            "spread": meta.spread,
            "size_bytes": self.bundle.size,
            "sha256": self.sha256,
            "url": f"/v1/models/{self.name}.onnx",
        }


@dataclass(frozen=True)
class Talk:
    """The utterances of a recording; none where nobody speaks."""

    path: str | None
    utterances: list[Utterance]
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON, as `emovox predict --utterances` prints it."""
        parts = [utterance.to_dict() for utterance in self.utterances]
        return {"path": self.path, "utterances": parts, "duration_s": round(self.duration_s, 6)}


class Engine:
    """Answers with the models of a process; one for each process.

    Files are decoded in a small pool of threads (the queue), models compute in another one (the batcher). Both have
    limits, and beyond them work is refused rather than piled up.

    Args:
        settings: models, threads and limits.
        metrics: told what is done.

    Raises:
        BundleError: if a model cannot be loaded.
        ParameterError: if two models have one name.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        threads = settings.threads or available_threads()
        self._jobs = 2 * threads  # while one decodes, another one waits for the model
        self._active = 0
        self._timelines = 0
        self._mean_s = 0.1
        self._batcher = Batcher(
            threads=threads,
            max_batch=settings.max_batch,
            max_waiting=4 * settings.queue_length,
            observe=metrics.computed,
        )
        self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="emovox-decode")
        limits = Limits(max_duration_s=settings.max_duration_s, max_bytes=settings.max_body_bytes)
        self.models: Mapping[str, Model] = _load_models(settings.models, self._batcher, limits)
        self._default = next(iter(self.models))

    @property
    def default(self) -> Model:
        """The model that answers when none is named."""
        return self.models[self._default]

    def model(self, name: str | None = None) -> Model:
        """Find a model by its name; None gives the default one.

        Raises:
            RequestError: ``not_found``.
        """
        if name is None:
            return self.default
        if name not in self.models:
            names = ", ".join(self.models)
            raise RequestError(f"there is no model {name[:100]!r}", code="not_found", remedy=f"Use one of: {names}.")
        return self.models[name]

    async def parts(self, samples: Samples, *, model: str | None = None, optional: bool = False) -> Parts:
        """Give the probabilities of sound in memory, such as a window of a stream.

        Args:
            samples: mono, float32 of shape (n,), at 16 kHz, full scale 1. Silence is no fault here.
            model: name of the model; None takes the default one.
            optional: give way to others, and give up if that takes too long.

        Raises:
            QueueFullError: if too much waits for the model.
            BundleError: ``failed``, if the model cannot process it.
        """
        chosen = self.model(model)
        meta, recognizer = chosen.bundle.meta, chosen.recognizer
        direct = meta.input == "waveform" and meta.sample_rate == audio.MODEL_RATE
        if direct and len(samples) <= (meta.max_seconds or 30.0) * audio.MODEL_RATE:
            row = await asyncio.wrap_future(chosen.bundle.submit(samples, optional=optional))
            parts = Parts(row[None], np.array([len(samples)], np.float64))
        else:
            parts = await self._in_pool(_parts, recognizer, samples)
        self._metrics.heard(len(samples) / audio.MODEL_RATE)
        return parts

    async def predict_file(
        self, file: BinaryIO, *, path: str | None, model: Model, utterances: bool = False
    ) -> Prediction | Talk | Failure:
        """Recognise the emotion of an encoded recording; one that cannot be used is reported, not raised.

        Args:
            file: its bytes.
            path: its name in the answer.
            model: who answers.
            utterances: find the utterances in it instead of judging it as a whole; silence is no fault then.
        """
        return await self._in_pool(self._predict_file, file, path, model, utterances)

    async def timeline(
        self, file: BinaryIO, *, model: Model, window_s: float, hop_s: float
    ) -> AsyncIterator[TimelineSegment]:
        """Follow the emotion through an encoded recording; the next window is computed when it is asked for.

        Raises:
            QueueFullError: if too many timelines are under way.
            AudioError, ParameterError: as `emovox.inference.stream.timeline`.
        """
        if self._timelines >= self._settings.max_timelines:
            raise QueueFullError("too many timelines are under way", retry_after_s=10)
        self._timelines += 1
        limits = self._any_length(self._settings.max_timeline_s)
        segments = timeline(file, model.recognizer, window_s=window_s, hop_s=hop_s, limits=limits)
        step: asyncio.Future[TimelineSegment | None] | None = None
        try:
            while True:
                step = asyncio.get_running_loop().run_in_executor(self._pool, next, segments, None)
                segment = await asyncio.shield(step)
                if segment is None:
                    return
                self._metrics.heard(segment.end_s - segment.start_s)
                yield segment
        finally:
            self._timelines -= 1
            if step is not None and not step.done():
                step.add_done_callback(lambda _: segments.close())  # type: ignore[attr-defined]
            else:
                segments.close()  # type: ignore[attr-defined]

    @contextmanager
    def admitted(self, count: int = 1) -> Iterator[None]:
        """Hold `count` places in the queue.

        Raises:
            QueueFullError: if there are not so many; a request is let in whatever its size when nothing else waits.
        """
        if self._active and self._active + count > self._settings.queue_length:
            self._metrics.refused("queue_full")
            raise QueueFullError(retry_after_s=min(60.0, self._active * self._mean_s / self._jobs))
        self._active += count
        self._metrics.queue.set(self._active)
        try:
            yield
        finally:
            self._active -= count
            self._metrics.queue.set(self._active)

    async def close(self) -> None:
        """Finish what is under way and end all threads."""
        await asyncio.to_thread(self._close)

    def _predict_file(
        self, file: BinaryIO, path: str | None, model: Model, utterances: bool
    ) -> Prediction | Talk | Failure:
        begin = time.perf_counter()
        found: Prediction | Talk
        try:
            if utterances:
                found = self._talk(file, path, model)
            else:
                found = dataclasses.replace(model.recognizer.predict(file), path=path)
        except EmovoxError as error:
            return Failure(path, error)
        except Exception:  # one recording must not spoil the others of its request
            logger.exception("unexpected error with a recording")
            return Failure(path, EmovoxError("cannot be processed", code="unexpected"))
        self._metrics.heard(found.duration_s)
        self._mean_s += 0.1 * (time.perf_counter() - begin - self._mean_s)
        return found

    def _talk(self, file: BinaryIO, path: str | None, model: Model) -> Talk:
        duration_s = 0.0

        def heard(seconds: float) -> None:
            nonlocal duration_s
            duration_s = seconds

        limits = self._any_length(self._settings.max_duration_s)
        parts = list(utterances_of(file, model.recognizer, limits=limits, progress=heard))
        return Talk(path, parts, duration_s)

    def _any_length(self, longest_s: float) -> Limits:
        """Limits for what may be silent or have nothing in it."""
        return dataclasses.replace(ANY_LENGTH, max_duration_s=longest_s, max_bytes=self._settings.max_body_bytes)

    def _close(self) -> None:
        self._pool.shutdown(wait=True)
        self._batcher.close()

    async def _in_pool(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        future = self._pool.submit(function, *args, **kwargs)
        return await asyncio.wrap_future(future)


def _load_models(sources: tuple[str, ...], batcher: Batcher, limits: Limits) -> dict[str, Model]:
    models: dict[str, Model] = {}
    for source in sources or _packaged():
        bundle = SharedBundle.shared(source, batcher)
        path = Path(bundle.path or "")
        if bundle.meta.name in models:
            raise ParameterError(f"two models are called {bundle.meta.name}", remedy="Serve one of them.")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        models[bundle.meta.name] = Model(Recognizer(bundle, limits=limits), bundle, path, sha256)
    if not models:
        raise BundleError("no model came with emovox", code="not_found", remedy="Name one: --model FILE.")
    return models


def _packaged() -> list[str]:
    from emovox.inference.bundle import DEFAULT_BUNDLE

    return sorted(packaged_bundles(), key=lambda name: (name != DEFAULT_BUNDLE, name))


def _parts(recognizer: Recognizer, samples: Samples) -> Parts:
    waveform = Waveform(samples, audio.MODEL_RATE)
    rate = recognizer.meta.sample_rate
    if rate not in (None, audio.MODEL_RATE):
        waveform = audio.from_array(samples, source_rate=audio.MODEL_RATE, rate=rate, limits=ANY_LENGTH)
    return recognizer.parts(waveform.samples, waveform.rate)
