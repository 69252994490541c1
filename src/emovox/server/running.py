"""Runs the service: in this process, or in several workers that share the port."""

from __future__ import annotations

import logging
import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from emovox.errors import EmovoxError, ParameterError
from emovox.inference.bundle import read_metadata
from emovox.server.keys import KeyRing
from emovox.server.metrics import FOLDER_VARIABLE
from emovox.server.protocol import ServiceConfig
from emovox.server.settings import ServerSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)
_SPARE_FILES = 200
"""Open files that are not connections: libraries, bundles, the keys, Prometheus' figures."""


@dataclass(frozen=True)
class _Factory:
    """Makes the application; unlike the application it can be sent to a worker."""

    settings: ServerSettings

    def __call__(self) -> FastAPI:
        from emovox.server.app import create_app

        return create_app(self.settings)


def check(settings: ServerSettings) -> None:
    """Refuse to listen where strangers come without a key, and to serve what is no model.

    Raises:
        EmovoxError: ``no_keys``.
        BundleError: if a file is no bundle.
    """
    for model in settings.models:
        read_metadata(model)
    if settings.needs_keys and not KeyRing(settings.keys_path).records:
        where = "behind a reverse proxy" if settings.require_keys else f"on {settings.host}"
        raise EmovoxError(
            f"{where} others can reach the service, so it needs API keys, and there is none in {settings.keys_path}",
            code="no_keys",
            remedy="Make one: emovox serve keys new NAME",
        )


def serve(
    settings: ServerSettings,
    *,
    workers: int = 1,
    certificate: str | None = None,
    private_key: str | None = None,
    log_level: str = "info",
) -> None:
    """Serve until the process is told to stop (SIGINT, SIGTERM); requests in flight are finished first.

    Args:
        settings: what and where.
        workers: processes. Each has its own models, queue and limits.
        certificate, private_key: PEM files for TLS; both or none.
        log_level: as uvicorn takes it.

    Raises:
        EmovoxError: ``no_keys``, ``cannot_listen``.
        BundleError: if a model cannot be loaded.
        ParameterError: if only one of certificate and key is given.
    """
    check(settings)
    if (certificate is None) != (private_key is None):
        raise ParameterError("TLS needs a certificate and its private key", remedy="Give both.")
    allow_connections(settings.max_connections)
    factory = _Factory(settings)
    config = ServiceConfig(
        factory if workers > 1 else factory(),
        limits=settings,
        factory=workers > 1,
        workers=workers,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
        proxy_headers=settings.require_keys,
        log_level=log_level,
        ws_max_size=1024**2,
        ws_per_message_deflate=False,  # sound does not shrink, and each stream would hold the tables for it
    )
    with _listening(settings) as listener, suppress(KeyboardInterrupt):
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{'https' if certificate else 'http'}://{host}:{listener.getsockname()[1]}"
        logging.getLogger("uvicorn.error").info("emovox serves on %s (Ctrl-C ends it)", address)
        if workers == 1:
            uvicorn.Server(config).run([listener])
        else:
            from uvicorn.supervisors import Multiprocess

            with _common_metrics():
                Multiprocess(config, [listener]).run()


@contextmanager
def _listening(settings: ServerSettings) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise EmovoxError(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror})",
            code="cannot_listen",
            remedy="Choose another address with --host or --port.",
        ) from error
    with listener:
        listener.set_inheritable(True)
        yield listener


@contextmanager
def _common_metrics() -> Iterator[None]:
    """Give prometheus_client a folder in which the workers' figures come together."""
    if FOLDER_VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="emovox-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER_VARIABLE]


def allow_connections(count: int) -> None:
    """Raise this process' limit of open files, which is often 1,024, as far as it may.

    Args:
        count: connections that are to be possible.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < wanted:
        logger.warning("only %d files may be open, so fewer than %d connections can be served", possible, count)
