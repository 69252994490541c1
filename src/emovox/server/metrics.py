"""What Prometheus is told: how many, how long, how full. Nothing about what is said, and no names of files."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client keeps the figures of several processes, as its documentation asks for."""

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Figures of one process; with several workers `render` gives their sum, whichever of them is asked.

    Attributes:
        queue: recordings that wait or are worked on.
        uploads: bytes of request bodies in memory.
        streams: live streams that are open.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "emovox_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "emovox_request_seconds", "From head to last byte.", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self._refused = Counter("emovox_refused", "Requests refused, by reason.", ["code"], registry=self._registry)
        self._batch = Histogram(
            "emovox_batch_clips", "Clips in one call of a model.", buckets=(1, 2, 4, 8, 16), registry=self._registry
        )
        self._model = Histogram(
            "emovox_model_seconds", "One call of a model.", buckets=_SECONDS, registry=self._registry
        )
        self._audio = Counter("emovox_audio_seconds", "Seconds of sound recognised.", registry=self._registry)
        self.queue = self._gauge("emovox_queue_recordings", "Recordings that wait or are worked on.")
        self.uploads = self._gauge("emovox_upload_bytes", "Bytes of request bodies in memory.")
        self.streams = self._gauge("emovox_streams", "Live streams that are open.")

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is the route's pattern, never the path itself."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self._refused.labels(code).inc()

    def computed(self, clips: int, seconds: float) -> None:
        """Count a call of a model."""
        self._batch.observe(clips)
        self._model.observe(seconds)

    def heard(self, seconds: float) -> None:
        """Count recognised sound."""
        self._audio.inc(seconds)

    def render(self) -> bytes:
        """Write all figures in Prometheus' text format."""
        folder = os.environ.get(FOLDER_VARIABLE)
        if folder is None:
            return generate_latest(self._registry)
        _forget_the_dead(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def close(self) -> None:
        """Take this process' gauges back."""
        if FOLDER_VARIABLE in os.environ:
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self._registry, multiprocess_mode="livesum")


def _forget_the_dead(folder: Path) -> None:
    """A worker that was killed leaves its gauges behind."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
