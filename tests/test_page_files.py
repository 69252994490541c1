"""The page's files: how they are served, and that nothing in them points elsewhere. Needs no browser."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.testclient import TestClient

from emovox.server.page import PAGE, include_page

SCRIPTS = sorted(PAGE.glob("*.js"))
OWN = sorted(path for path in PAGE.iterdir() if path.is_file())


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = Starlette()
    include_page(app)
    return TestClient(app)


@pytest.mark.parametrize(
    "path", ["/", *(f"/page/{path.name}" for path in SCRIPTS), "/page/style.css", "/page/voice/silero-vad.onnx"]
)
def test_every_file_forbids_what_is_foreign(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert policy["style-src"] == policy["connect-src"] == policy["worker-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_types(client: TestClient) -> None:
    types = {
        "/": "text/html",
        "/page/page.js": "text/javascript",
        "/page/vendor/onnxruntime-web.mjs": "text/javascript",
        "/page/vendor/onnxruntime-web.wasm": "application/wasm",
        "/page/icon.svg": "image/svg+xml",
    }
    for path, kind in types.items():
        assert client.head(path).headers["content-type"].startswith(kind)


def test_what_is_unchanged_is_not_sent_again(client: TestClient) -> None:
    tag = client.get("/page/page.js").headers["etag"]
    again = client.get("/page/page.js", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_webassembly_is_the_same_packed_and_unpacked(client: TestClient) -> None:
    path = "/page/vendor/onnxruntime-web.wasm"
    packed = client.get(path, headers={"Accept-Encoding": "br, gzip"})
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    head = client.head(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == gzip.decompress((PAGE / "vendor/onnxruntime-web.wasm.gz").read_bytes())
    assert packed.headers["x-unpacked-length"] == plain.headers["content-length"] == head.headers["content-length"]
    assert plain.content.startswith(b"\0asm")
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/page/", "/page/no.js", "/page/no.wasm", "/page/../page.py", "/page/%2e%2e/page.py"])
def test_nothing_else_is_given(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 405)


def test_files_of_others_are_what_their_list_says() -> None:
    vendor = PAGE / "vendor"
    listed = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", (vendor / "README.md").read_text(), re.MULTILINE))
    assert set(listed) == {
        hashlib.sha256((vendor / "onnxruntime-web.mjs").read_bytes()).hexdigest(),
        hashlib.sha256(gzip.decompress((vendor / "onnxruntime-web.wasm.gz").read_bytes())).hexdigest(),
    }
    assert all(path.stat().st_size < 4_000_000 for path in vendor.iterdir())


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_points_elsewhere(path: Path) -> None:
    text = re.sub(r"^\s*(//|\*|/\*).*$", "", path.read_text(), flags=re.MULTILINE)  # comments may
    found = re.findall(r"(?:https?:)?//[a-z0-9][\w.-]*\.[a-z]{2,}[^\s\"'`)]*", text)
    assert [address for address in found if "www.w3.org" not in address] == []


def test_no_script_and_no_style_inside_the_page() -> None:
    class Inspector(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.faults: list[str] = []

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            given = dict(attributes)
            if tag == "style" or "style" in given or any(name.startswith("on") for name in given):
                self.faults.append(self.get_starttag_text() or tag)
            if tag == "script" and not given.get("src"):
                self.faults.append(tag)

    inspector = Inspector()
    inspector.feed((PAGE / "index.html").read_text())
    assert inspector.faults == []
    for path in SCRIPTS:  # texts of others (names of files, messages) must never become elements
        assert not re.search(
            r"(inner|outer)HTML|insertAdjacent|document\.write|\beval\(|new Function", path.read_text()
        )


def test_files_are_short() -> None:
    assert [path.name for path in OWN if len(path.read_text().splitlines()) > 300] == []


@pytest.mark.slow
def test_types_fit() -> None:
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("npx is not installed")
    checker = [npx, "--yes", "--package", "typescript@5.9.3", "tsc"]
    if subprocess.run([*checker, "--version"], capture_output=True, timeout=120).returncode:
        pytest.skip("the TypeScript checker cannot be fetched")
    checked = subprocess.run([*checker, "-p", PAGE / "tsconfig.json"], capture_output=True, text=True, timeout=300)
    assert checked.returncode == 0, checked.stdout
