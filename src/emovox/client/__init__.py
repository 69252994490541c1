"""Python client of the service that `emovox serve` starts; needs the extra ``client``.

Example:
    >>> from emovox.client import Client
    >>> with Client("http://127.0.0.1:8000") as client:                        # doctest: +SKIP
    ...     print(client.predict("hello.wav").emotion)
    ...     for event in client.stream(microphone_blocks, rate=48_000):
    ...         print(event)
"""

from __future__ import annotations

from emovox.client.rest import AsyncClient, Client
from emovox.client.wire import ServiceError
from emovox.inference.live import Update
from emovox.inference.recognizer import Failure, Prediction
from emovox.inference.stream import TimelineSegment
from emovox.inference.utterances import Utterance

__all__ = [
    "AsyncClient",
    "Client",
    "Failure",
    "Prediction",
    "ServiceError",
    "TimelineSegment",
    "Update",
    "Utterance",
]
