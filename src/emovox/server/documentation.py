"""The page at ``/docs``: the OpenAPI description as plain HTML, without scripts and without anything from elsewhere."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

router = APIRouter(include_in_schema=False)

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: .4rem; }
section { border-top: 1px solid #8886; padding-top: .5rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8883; }
.method { font-weight: 700; }
"""

_EXAMPLES = {
    "/v1/predict": ["-F file=@hello.wav -F file=@more.m4a", "--data-binary @hello.webm -H 'Content-Type: audio/webm'"],
    "/v1/timeline": ["-N -F file=@lecture.mp3"],
    "/v1/models/{name}.onnx": ["-O"],
}


def describe(app: FastAPI, *documents: type[BaseModel], with_keys: bool) -> None:
    """Complete the OpenAPI description that FastAPI makes.

    Args:
        app: the application.
        documents: what answers refer to that are made by hand.
        with_keys: whether requests need a key; otherwise nothing is said of keys.
    """
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = made()
            components = description.setdefault("components", {})
            for document in documents:
                schema = document.model_json_schema(ref_template="#/components/schemas/{model}")
                components["schemas"].update(schema.pop("$defs", {}))
                components["schemas"][document.__name__] = schema
            if not with_keys:
                components.pop("securitySchemes", None)
                for methods in description["paths"].values():
                    for operation in methods.values():
                        operation.pop("security", None)
        return made()

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation does it


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Show how to use the service."""
    return HTMLResponse(_page(request.app.openapi(), str(request.base_url).rstrip("/")))


@router.get("/docs/style.css")
async def style() -> Response:
    """Give the page's style; the content security policy allows none inside the page."""
    return Response(_STYLE, media_type="text/css")


def _page(document: dict[str, Any], base: str) -> str:
    operations = [
        _operation(method, path, operation, base)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>emovox: HTTP interface</title>'
        '<link rel="stylesheet" href="/docs/style.css"></head><body><main>'
        f"<h1>emovox {_text(info['version'])}</h1><p>{_text(info['description'])}</p>"
        '<p>For programs: <a href="/openapi.json">OpenAPI description</a>. Live speech goes through the WebSocket '
        "<code>/v1/stream</code>. Errors are problem documents (RFC 9457) with a <code>code</code>.</p>"
        f"{''.join(operations)}</main></body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], base: str) -> str:
    rows = [
        (f"<code>{_text(item['name'])}</code> ({item['in']})", _kind(item["schema"]), item.get("description", ""))
        for item in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {}).get("content", {})
    rows += [("body", f"<code>{_text(kind)}</code>", _fields(content["schema"])) for kind, content in body.items()]
    answers = _answers(operation["responses"])
    examples = [_curl(method, base + path, options) for options in _EXAMPLES.get(path, [""])]
    return (
        f'<section><h2><span class="method">{method.upper()}</span> <code>{_text(path)}</code></h2>'
        f"<p>{_text(operation.get('description', ''))}</p>{_table('Parameters', rows)}{_table('Answers', answers)}"
        f"<pre>{_text(chr(10).join(examples))}</pre></section>"
    )


def _answers(responses: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """One row for each answer; all problems share one, for they are documents of one kind."""
    good = [status for status in responses if int(status) < 400]
    rows = [(f"<code>{status}</code>", _kinds(responses[status]), responses[status]["description"]) for status in good]
    problems = sorted(status for status in responses if status not in good)
    codes = ", ".join(f"<code>{status}</code>" for status in problems)
    return [*rows, (codes, _kinds(responses[problems[0]]), "What is wrong, and what to do.")] if problems else rows


def _curl(method: str, url: str, options: str) -> str:
    return " ".join(part for part in ("curl", "-X HEAD" if method == "head" else "", options, url) if part)


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(f"<tr><td>{name}</td><td>{kind}</td><td>{_text(text)}</td></tr>" for name, kind, text in rows)
    return f"<h3>{title}</h3><table>{lines}</table>"


def _kind(schema: dict[str, Any]) -> str:
    kinds = [item.get("type", "") for item in schema.get("anyOf", [schema]) if item.get("type") != "null"]
    default = schema.get("default")
    return _text(" or ".join(kinds) + ("" if default is None else f" = {json.dumps(default)}"))


def _kinds(answer: dict[str, Any]) -> str:
    return ", ".join(f"<code>{_text(kind)}</code>" for kind in answer.get("content", {}))


def _fields(schema: dict[str, Any]) -> str:
    return ", ".join(f"field {name}" for name in schema.get("properties", {})) or "the bytes of one recording"


def _text(value: object) -> str:
    """Escape a text; what stands in backticks becomes code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(str(value)))
