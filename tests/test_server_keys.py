from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bundles import write_waveform_bundle
from serving import Service, served
from sound_files import encode
from typer.testing import CliRunner

from emovox.cli import common
from emovox.cli.main import app
from emovox.errors import EmovoxError
from emovox.server import ServerSettings
from emovox.server.guard import PROTECTED
from emovox.server.keys import KeyFileError, KeyRing
from emovox.server.running import check


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "private" / "keys.json")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_waveform_bundle(tmp_path_factory.mktemp("model") / "loudness.onnx"))


@pytest.fixture(scope="module")
def open_service(bundle: str) -> Iterator[Service]:
    with served(models=(bundle,), origins=("https://example.org",)) as running:
        yield running


def test_only_hashes_are_kept_and_only_for_the_owner(ring: KeyRing) -> None:
    key = ring.create("laptop")
    text = ring.path.read_text()
    assert key not in text
    assert key.removeprefix("emovox_") not in text
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    assert len(key) >= 40


def test_keys_work_until_they_are_revoked(ring: KeyRing) -> None:
    first, second = ring.create("one"), ring.create("two")
    assert first != second
    reader = KeyRing(ring.path)  # as in a running service
    assert reader.allows(first)
    assert not any(reader.allows(wrong) for wrong in ("", None, first[:-1], first + "x", first.upper(), "\udcff"))
    ring.revoke("one")
    assert not reader.allows(first)
    assert reader.allows(second)
    ring.path.unlink()
    assert not reader.allows(second)


def test_names_are_unique_and_known(ring: KeyRing) -> None:
    ring.create("one")
    with pytest.raises(KeyFileError, match="already"):
        ring.create("one")
    with pytest.raises(KeyFileError, match="no key called 'two'"):
        ring.revoke("two")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"keys": [{}]}', '{"keys": [{"name": "a", "sha256": "b", "created": ""}]}']
)
def test_a_damaged_file_lets_nobody_in(ring: KeyRing, text: str) -> None:
    ring.path.parent.mkdir()
    ring.path.write_text(text)
    with pytest.raises(KeyFileError, match="no file of API keys"):
        ring.allows("x")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_beyond_loopback_it_does_not_start_without_keys(tmp_path: Path, host: str) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(EmovoxError, match="emovox serve keys new") as caught:
        check(ServerSettings(host=host, keys_file=path))
    assert caught.value.code == "no_keys"
    with pytest.raises(EmovoxError):
        check(ServerSettings(require_keys=True, keys_file=path))
    KeyRing(path).create("x")
    check(ServerSettings(host=host, keys_file=path))


def test_the_command_makes_lists_and_revokes(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.json")
    runner = CliRunner()
    made = runner.invoke(app, ["serve", "keys", "new", "phone", "--keys", path])
    assert made.exit_code == 0
    assert KeyRing(Path(path)).allows(made.stdout.strip())
    assert runner.invoke(app, ["serve", "keys", "list", "--keys", path]).stdout.startswith("phone\t")
    assert runner.invoke(app, ["serve", "keys", "revoke", "phone", "--keys", path]).exit_code == 0
    assert json.loads(Path(path).read_text())["keys"] == []


def test_the_command_refuses_to_listen_for_everybody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["emovox", "serve", "--host", "0.0.0.0", "--keys", str(tmp_path / "none.json")]
    monkeypatch.setattr("sys.argv", arguments)
    assert common.run(app) == common.WRONG_USE
    assert "emovox serve keys new NAME" in capsys.readouterr().err


def test_every_protected_route_needs_a_key(bundle: str, ring: KeyRing, voice: np.ndarray) -> None:
    key = ring.create("test")
    with served(models=(bundle,), require_keys=True, keys_file=ring.path) as service:
        paths = service.client.get("/openapi.json").json()["paths"]
        protected = [(path, method) for path in paths for method in paths[path] if path.startswith(PROTECTED)]
        assert len(protected) >= 6
        for path, method in protected:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {key}"}):
                answer = service.client.request(method, path.replace("{name}", "loudness"), headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path
                assert answer.headers["www-authenticate"].startswith("Bearer")
        headers = {"Authorization": f"Bearer {key}"}
        body = encode(voice, "wav int16")
        good = service.client.post("/v1/predict", content=body, headers={**headers, "Content-Type": "audio/wav"})
        assert good.status_code == 200
        assert service.client.get("/v1/models", headers=headers).status_code == 200
        for path in ("/healthz", "/readyz", "/docs", "/"):
            assert service.client.get(path).status_code == 200
        ring.revoke("test")
        assert service.client.get("/v1/models", headers=headers).status_code == 401


def test_a_refused_upload_is_not_read(bundle: str, ring: KeyRing) -> None:
    ring.create("test")
    with served(models=(bundle,), require_keys=True, keys_file=ring.path) as service, service.connect() as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/models", "/nothing", "/healthz"])
def test_security_headers_are_everywhere(open_service: Service, path: str) -> None:
    headers = open_service.client.get(path).headers
    policy = dict(item.split(" ", 1) for item in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert "worker-src" in policy
    assert not any("unsafe-inline" in value or "http" in value or "*" in value for value in policy.values())
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["permissions-policy"].startswith("microphone=(self)")
    assert "server" not in headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
)
def test_pages_of_other_origins_are_refused(open_service: Service, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = open_service.client.request(method, "/v1/predict", headers=headers)
        assert answer.status_code in (400, 403)
        assert "access-control-allow-origin" not in answer.headers


def test_a_named_origin_is_allowed(open_service: Service) -> None:
    headers = {"Origin": "https://example.org"}
    answer = open_service.client.get("/v1/models", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert open_service.client.get("/v1/models", headers={"Origin": open_service.url}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "[::1", "127.0.0.1.evil.example"])
def test_names_that_point_here_are_refused_on_loopback(open_service: Service, host: str) -> None:
    answer = open_service.client.get("/v1/models", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "bad_host")
    assert open_service.client.get("/healthz", headers={"Host": "localhost:9"}).status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_websockets_of_other_pages_are_refused(open_service: Service, headers: dict[str, str]) -> None:
    upgrade = {
        "Host": f"127.0.0.1:{open_service.port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }
    assert open_service.client.get("/v1/stream", headers={**upgrade, **headers}).status_code == 403
