"""The REST interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, suppress
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer

from emovox import palette
from emovox.errors import EmovoxError
from emovox.inference.recognizer import Failure, Prediction
from emovox.inference.results import significant
from emovox.inference.stream import TimelineSegment
from emovox.server import schemas
from emovox.server.engine import Engine, Model, Talk
from emovox.server.files import FIELD, received
from emovox.server.metrics import CONTENT_TYPE
from emovox.server.problems import MEDIA_TYPE, RequestError, problem, problem_response

NDJSON = "application/x-ndjson"
_ANY_FILE = {"schema": {"type": "string", "format": "binary"}}
_R = TypeVar("_R")


def _body(*, several: bool) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    field = {"type": "array", "items": file, "minItems": 1} if several else file
    form = {"type": "object", "properties": {FIELD: field}, "required": [FIELD]}
    content = {
        "multipart/form-data": {"schema": form},
        "audio/*": _ANY_FILE,
        "video/*": _ANY_FILE,
        "application/octet-stream": _ANY_FILE,
    }
    return {"requestBody": {"required": True, "content": content}}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "Problem", "content": content} for status in statuses}


_REFUSED = _problems(401, 403)
_UPLOAD = _REFUSED | _problems(400, 404, 408, 413, 415, 422, 429, 500)
_WITH_KEY = [Depends(HTTPBearer(auto_error=False, description="An API key; needed beyond loopback."))]

api = APIRouter(prefix="/v1", dependencies=_WITH_KEY)
probes = APIRouter()

ModelName = Annotated[str | None, Query(description="Name of a model; the default one if left out.")]


@api.post(
    "/predict",
    summary="Emotions of recordings",
    response_model=schemas.Answer,
    response_description="The results.",
    openapi_extra=_body(several=True),
    responses=_UPLOAD,
)
async def predict(
    request: Request,
    model: ModelName = None,
    utterances: Annotated[
        bool, Query(description="An emotion for each utterance, instead of one for the whole.")
    ] = False,
    parts: Annotated[
        bool, Query(description="Also what each result is the mean of: a part for as much as the model takes at once.")
    ] = False,
) -> Response:
    """Recognise one or more recordings of any format; what cannot be used is named, the rest is done."""
    state = request.app.state
    engine: Engine = state.engine
    chosen = engine.model(model)
    async with received(request, state.settings, state.uploads) as uploads:
        with engine.admitted(len(uploads)):
            work = asyncio.gather(
                *(
                    engine.predict_file(upload.file, path=upload.name, model=chosen, utterances=utterances)
                    for upload in uploads
                )
            )
            outcomes = await _unless_left(request, work)
    documents = [_document(outcome, chosen, parts=parts) for outcome in outcomes]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    if len(failures) == len(documents):
        return problem_response(failures[0].error, **({"results": documents} if len(documents) > 1 else {}))
    return JSONResponse({"model": chosen.bundle.meta.summary(), "results": documents})


def _document(outcome: Prediction | Talk | Failure, model: Model, *, parts: bool) -> dict[str, Any]:
    document = outcome.to_dict()
    if parts and isinstance(outcome, Prediction) and outcome.parts is not None:
        labels, found = model.bundle.meta.labels, outcome.parts
        seconds = found.weights / found.weights.sum() * outcome.duration_s
        document["parts"] = [
            {
                "seconds": round(float(length), 6),
                "probabilities": {label: significant(value) for label, value in zip(labels, row, strict=True)},
            }
            for length, row in zip(seconds, found.probabilities, strict=True)
        ]
    return document


@api.post(
    "/timeline",
    summary="Emotions over time",
    response_class=StreamingResponse,
    openapi_extra=_body(several=False),
    responses=_UPLOAD
    | {200: {"description": "A line of JSON for each window, and a last one: `done`, or an `error`.",
             "content": {NDJSON: {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def timeline(
    request: Request,
    model: ModelName = None,
    window_s: Annotated[float, Query(ge=0.1, le=60, description="Length of a window in seconds.")] = 3.0,
    hop_s: Annotated[float, Query(ge=0.05, le=60, description="From start to start, at most `window_s`.")] = 1.0,
) -> Response:
    """Follow the emotion through a recording of hours; lines are sent as they are computed."""
    lines = _lines(request, model, window_s, hop_s)
    try:
        first = await anext(lines)  # what is wrong from the begin on is a problem, not a line
    except BaseException:
        await lines.aclose()
        raise
    return StreamingResponse(_chain(first, lines), media_type=NDJSON)


async def _lines(
    request: Request, model: str | None, window_s: float, hop_s: float
) -> AsyncGenerator[dict[str, Any], None]:
    state = request.app.state
    engine: Engine = state.engine
    chosen = engine.model(model)
    count, end_s = 0, 0.0
    async with received(request, state.settings, state.uploads) as uploads:
        if len(uploads) > 1:
            raise RequestError("a timeline is of one file", code="too_many_files", remedy="Send one request for each.")
        segments = engine.timeline(uploads[0].file, model=chosen, window_s=window_s, hop_s=hop_s)
        async with aclosing(cast(AsyncGenerator[TimelineSegment, None], segments)) as running:
            async for segment in running:
                yield segment.to_dict()
                count, end_s = count + 1, segment.end_s
    yield {"done": True, "segments": count, "duration_s": round(end_s, 6)}


async def _chain(first: dict[str, Any], lines: AsyncGenerator[dict[str, Any], None]) -> AsyncIterator[str]:
    async with aclosing(lines):
        yield json.dumps(first) + "\n"
        try:
            async for line in lines:
                yield json.dumps(line) + "\n"
        except EmovoxError as error:
            yield json.dumps({"done": False, "error": problem(error)}) + "\n"


async def _unless_left(request: Request, work: Awaitable[_R]) -> _R:
    """Await work, and give it up when the client has gone."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise RequestError("the client has gone")
        return task.result()
    finally:
        for job in (task, watcher):
            if not job.done():
                job.cancel()
                with suppress(asyncio.CancelledError):
                    await job


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@api.get(
    "/models",
    summary="Models at hand",
    response_model=schemas.Models,
    response_description="The models.",
    responses=_REFUSED,
)
async def models(request: Request) -> Response:
    """List the models: what they were trained on, how good they are, and where their files are."""
    engine: Engine = request.app.state.engine
    items = [model.summary() | {"default": model is engine.default} for model in engine.models.values()]
    return JSONResponse({"models": items})


@api.get(
    "/models/{name}.onnx",
    summary="A model's file",
    response_class=Response,
    responses=_REFUSED
    | _problems(404, 422)
    | {200: {"description": "The bundle.", "content": {"application/octet-stream": _ANY_FILE}},
       304: {"description": "What `If-None-Match` names is still the same."}},
)  # fmt: skip
async def model_file(request: Request, name: str) -> Response:
    """Get a bundle, for predictions on the client's own machine."""
    engine: Engine = request.app.state.engine
    model = engine.model(name)
    headers = {"ETag": f'"{model.sha256}"', "Cache-Control": "private, no-cache"}
    if model.sha256 in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(model.path, media_type="application/octet-stream", headers=headers)


@api.get(
    "/colours",
    summary="Colours of emotions",
    response_model=dict[str, str],
    response_description="The colours.",
    responses=_REFUSED,
)
async def colours() -> Response:
    """Give each emotion's colour as `#RRGGBB`, the same in page, report and terminal."""
    return JSONResponse(dict(palette.COLOURS))


@probes.get(
    "/healthz",
    summary="Is it alive?",
    response_model=schemas.Status,
    response_description="It is.",
    responses=_problems(403),
)
async def healthz() -> Response:
    """Answer as long as the process does."""
    return JSONResponse({"status": "ok"})


@probes.get(
    "/readyz",
    summary="Can it work?",
    response_model=schemas.Status,
    response_description="It can.",
    responses=_problems(403, 503),
)
async def readyz(request: Request) -> Response:
    """Answer with 200 while requests are taken, with 503 before and after."""
    if not request.app.state.ready:
        return problem_response(RequestError("the service is starting or stopping", code="shutting_down"))
    return JSONResponse({"status": "ready"})


@probes.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    dependencies=_WITH_KEY,
    responses=_REFUSED | {200: {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Give counters and gauges of all workers together."""
    return Response(request.app.state.metrics.render(), media_type=CONTENT_TYPE)
