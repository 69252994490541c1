"""Puts the service together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import emovox
from emovox.server import documentation, problems, routes, schemas, stream
from emovox.server.engine import Engine
from emovox.server.files import UploadMemory
from emovox.server.guard import Guard
from emovox.server.keys import KeyRing
from emovox.server.metrics import Metrics
from emovox.server.page import include_page
from emovox.server.settings import ServerSettings

DESCRIPTION = "Recognises emotion in speech. Audio is never stored and never logged."


def create_app(settings: ServerSettings | None = None) -> FastAPI:
    """Make the service: models are loaded here, work begins when the server starts it.

    `app.state` holds `settings`, `engine`, `metrics`, `uploads`, `ready`, and `keys` (None where no key is needed).

    Args:
        settings: None takes the defaults: the packaged models, for this machine only.

    Raises:
        BundleError: if a model cannot be loaded.
    """
    settings = settings or ServerSettings()
    keys = KeyRing(settings.keys_path) if settings.needs_keys else None
    metrics = Metrics()
    app = FastAPI(
        title="emovox",
        version=emovox.__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's own documentation page loads scripts from other places
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.keys = keys
    app.state.metrics = metrics
    app.state.uploads = UploadMemory(settings.max_upload_bytes, metrics)
    app.state.engine = Engine(settings, metrics)
    app.state.ready = False
    problems.add_handlers(app)
    app.add_middleware(Guard, settings=settings, keys=keys, metrics=metrics)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.include_router(routes.api)
    app.include_router(routes.probes)
    app.include_router(documentation.router)
    app.include_router(stream.router)
    include_page(app)
    documentation.describe(app, schemas.Problem, with_keys=keys is not None)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.ready = True
    try:
        yield
    finally:  # here uvicorn has let all requests finish
        app.state.ready = False
        await app.state.engine.close()
        app.state.metrics.close()
