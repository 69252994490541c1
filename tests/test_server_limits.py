from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from bundles import write_waveform_bundle
from serving import Service, read_all, read_answer, served, wait_until
from sound_files import encode

from emovox.server.running import allow_connections

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"
BODY_LIMIT = 2_000_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_waveform_bundle(tmp_path_factory.mktemp("model") / "loudness.onnx"))


@pytest.fixture(scope="module")
def service(bundle: str) -> Iterator[Service]:
    with served(
        models=(bundle,),
        max_body_bytes=BODY_LIMIT,
        max_upload_bytes=2 * BODY_LIMIT,
        head_timeout_s=1.0,
        body_timeout_s=1.0,
        body_rate=100_000,
        write_timeout_s=1.0,
    ) as running:
        yield running


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def code(answer: bytes) -> str:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["code"]


def uploads_held(service: Service) -> int:
    return service.app.state.uploads._held


def test_a_claim_of_10_gb_is_refused_at_its_header(service: Service) -> None:
    with service.connect() as connection:
        begin = time.monotonic()
        connection.sendall(HEAD + b"Content-Length: 10000000000\r\nExpect: 100-continue\r\n\r\n")
        answer = read_answer(connection)
        assert time.monotonic() - begin < 0.8
        assert (status(answer), code(answer)) == (413, "too_large")
        assert b"100 Continue" not in answer
    assert service.alive()


def send_on(connection: socket.socket, data: bytes) -> None:
    """Send for 10 s, or until the other side has had enough."""
    begin = time.monotonic()
    while time.monotonic() - begin < 10:
        connection.sendall(data)
        time.sleep(0.001)


def test_who_goes_on_sending_is_cut_off(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 10000000000\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_on(connection, bytes(1_000_000))
    assert uploads_held(service) == 0
    assert service.alive()


def test_a_body_without_a_length_is_counted_while_it_comes(service: Service) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(100_000)

    try:
        answer = service.client.post("/v1/predict", content=chunks(), headers={"Content-Type": "audio/wav"})
    except httpx2.WriteError:
        pass  # it was cut off while it was still sending
    else:
        assert answer.json()["code"] == "too_large"
    wait_until(lambda: uploads_held(service) == 0, 5)
    assert service.alive()


@pytest.mark.parametrize("length", [b"-1", b"1e9", b"abc", b"99999999999999999999999999"])
def test_absurd_lengths(service: Service, length: bytes) -> None:
    with service.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: " + length + b"\r\n\r\n")
        assert status(read_answer(connection)) in (400, 413)
    assert service.alive()


def test_random_bytes(service: Service) -> None:
    random = np.random.default_rng(3)
    for size in (1, 100, 10_000, 200_000):
        with service.connect() as connection:
            try:
                connection.sendall(random.bytes(size))
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            answer = read_all(connection)
            assert not answer or status(answer) == 400
    assert service.alive()


def test_an_endless_head_is_refused(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_on(connection, b"x" * 10_000)
    assert service.alive()


@pytest.mark.parametrize("begin", [b"", b"GET /healthz HTTP/1.1\r\nHost: "])
def test_slow_heads_are_cut_off(service: Service, begin: bytes) -> None:
    with service.connect() as connection:
        start = time.monotonic()
        connection.sendall(begin)
        connection.settimeout(0.1)
        closed = False
        while not closed and time.monotonic() - start < 5:
            try:
                if begin:
                    connection.sendall(b"x")
                closed = connection.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
        assert closed
        assert 0.5 < time.monotonic() - start < 3


def test_slow_heads_on_a_connection_that_was_used_before(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(read_answer(connection)) == 200
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        start = time.monotonic()
        assert read_all(connection) == b""
        assert time.monotonic() - start < 3


def test_slow_bodies_are_refused(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
        start = time.monotonic()
        connection.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() - start < 5:
            try:
                connection.sendall(b"x")
                answer = read_answer(connection)
            except TimeoutError:
                continue
        assert (status(answer), code(answer)) == (408, "too_slow")
        assert time.monotonic() - start < 3


def test_who_does_not_read_is_cut_off(bundle: str) -> None:
    with served(models=(bundle,), write_timeout_s=0.5) as service, service.connect() as connection:
        connections = service.server.server_state.connections
        # The answers, 30 MB, do not fit into the network's buffers.
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_500)
        wait_until(lambda: any(item.flow.write_paused for item in connections), 10)
        assert service.alive()
        wait_until(lambda: not any(item.flow.write_paused for item in connections), 3)
        connection.settimeout(5)
        assert len(read_all(connection)) < 20_000_000


@pytest.mark.parametrize("cut", ["in a header", "in the data", "before the last boundary"])
def test_truncated_multipart(service: Service, voice: np.ndarray, cut: str) -> None:
    request = httpx2.Request("POST", "http://x", files={"file": ("a.wav", encode(voice, "wav int16"))})
    body = request.read()
    end = {"in a header": 60, "in the data": len(body) // 2, "before the last boundary": len(body) - 20}[cut]
    headers = {"Content-Type": request.headers["content-type"]}
    answer = service.client.post("/v1/predict", content=body[:end], headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "no_file")


def test_disconnect_in_mid_upload(service: Service, voice: np.ndarray) -> None:
    body = encode(voice, "wav int16")
    for _ in range(20):
        with service.connect() as connection:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:20_000])
    wait_until(lambda: uploads_held(service) == 0, 5)
    good = service.client.post("/v1/predict", content=body, headers={"Content-Type": "audio/wav"})
    assert good.status_code == 200


def test_uploads_share_a_bounded_memory(service: Service) -> None:
    """Four clients that stop in mid-upload hold what there is; the next one is told to wait, and later gets in."""
    part = HEAD + b"Content-Length: 1900000\r\n\r\n" + bytes(1_400_000)
    connections = [service.connect() for _ in range(4)]
    try:
        for connection in connections:
            connection.sendall(part)
        answers = []
        for connection in connections:
            connection.settimeout(0.3)
            try:
                answers.append(read_answer(connection))
            except TimeoutError:
                continue
        assert uploads_held(service) <= 2 * BODY_LIMIT
        refused = [answer for answer in answers if status(answer) == 429]
        assert refused
        assert b"retry-after: 5" in refused[0].lower()
    finally:
        for connection in connections:
            connection.close()
    wait_until(lambda: uploads_held(service) == 0, 5)


def test_a_full_queue_says_when_to_come_again(bundle: str, voice: np.ndarray) -> None:
    with served(models=(bundle,), queue_length=2, threads=1) as service:
        engine = service.app.state.engine
        release = threading.Event()
        for _ in range(engine._jobs):
            engine._pool.submit(release.wait)
        body = encode(voice, "wav int16")

        def post() -> httpx2.Response:
            return httpx2.post(
                f"{service.url}/v1/predict", content=body, headers={"Content-Type": "audio/wav"}, timeout=30
            )

        async def flood() -> list[httpx2.Response]:
            waiting = [asyncio.create_task(asyncio.to_thread(post)) for _ in range(2)]
            while engine._active < 2:
                await asyncio.sleep(0.01)
            refused = await asyncio.to_thread(post)
            release.set()
            return [refused, *await asyncio.gather(*waiting)]

        try:
            refused, *answered = asyncio.run(flood())
        finally:
            release.set()
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert [answer.status_code for answer in answered] == [200, 200]
        assert post().status_code == 200
        assert engine._active == 0


def test_work_for_clients_that_left_is_given_up(bundle: str, voice: np.ndarray) -> None:
    with served(models=(bundle,), threads=1) as service:
        engine = service.app.state.engine
        release = threading.Event()
        for _ in range(engine._jobs):
            engine._pool.submit(release.wait)
        body = encode(voice, "wav int16")
        with service.connect() as connection:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: engine._active == 1, 5)
        wait_until(lambda: engine._active == 0, 5)
        release.set()


def test_a_thousand_connections(service: Service, voice: np.ndarray) -> None:
    allow_connections(2_500)  # both ends are in this process
    connections = []
    try:
        for _ in range(1_000):
            connections.append(service.connect())
        begin = time.monotonic()
        answer = service.client.post(
            "/v1/predict", content=encode(voice, "wav int16"), headers={"Content-Type": "audio/wav"}
        )
        assert answer.status_code == 200
        assert time.monotonic() - begin < 5
    finally:
        for connection in connections:
            connection.close()
    assert service.alive()


def test_one_connection_too_many(bundle: str) -> None:
    with served(models=(bundle,), max_connections=5) as service:
        connections = [service.connect() for _ in range(6)]
        assert read_all(connections[5]) == b""
        connections[0].close()
        time.sleep(0.1)
        with httpx2.Client(base_url=service.url) as client:
            assert client.get("/healthz").status_code == 200
        for connection in connections:
            connection.close()


def test_uploads_never_touch_a_disk(
    service: Service, voice: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was about to be written")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    body = encode(np.tile(voice, 15), "wav float")  # 1.9 MB: starlette itself would go to the disk at 1 MB
    for path in ("/v1/predict", "/v1/timeline"):
        assert service.client.post(path, files={"file": ("a.wav", body)}).status_code == 200
        assert service.client.post(path, content=body, headers={"Content-Type": "audio/wav"}).status_code == 200
