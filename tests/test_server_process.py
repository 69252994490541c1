from __future__ import annotations

import re
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from bundles import write_waveform_bundle
from serving import Process, process, read_all, read_answer
from sound_files import encode

WAV = {"Content-Type": "audio/wav"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_waveform_bundle(tmp_path_factory.mktemp("model") / "loudness.onnx"))


@pytest.fixture
def running(tmp_path: Path, bundle: str) -> Iterator[Process]:
    with process(tmp_path / "log", "--model", bundle) as service:
        yield service


def test_what_is_in_flight_is_finished(running: Process, voice: np.ndarray) -> None:
    body = encode(voice, "wav int16")
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\nContent-Length: %d\r\n\r\n"
    with running.connect() as uploading, running.connect() as idle:
        uploading.sendall(head % len(body) + body[:1_000])
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_answer(idle)
        time.sleep(0.1)
        running.process.send_signal(signal.SIGTERM)
        assert read_all(idle) == b""  # closed: nothing was under way there
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{running.url}/healthz")
        uploading.sendall(body[1_000:])
        answer = read_all(uploading)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"probabilities"' in answer
    assert running.process.wait(15) == -signal.SIGTERM
    assert "Traceback" not in running.log.read_text()


def test_nothing_that_was_said_or_sent_is_in_the_log(running: Process, voice: np.ndarray) -> None:
    answer = running.client.post("/v1/predict", files={"file": ("private-name.wav", encode(voice, "wav int16"))})
    assert answer.status_code == 200
    running.client.post("/v1/predict", files={"file": ("private-name.wav", b"private-bytes")})
    running.stop()
    log = running.log.read_text()
    assert "POST /v1/predict" in log
    assert "private" not in log
    assert answer.json()["results"][0]["emotion"] not in log


def test_a_port_that_is_taken(running: Process, tmp_path: Path, bundle: str) -> None:
    with (
        pytest.raises(AssertionError, match="cannot listen on"),
        process(tmp_path / "second", "--model", bundle, "--port", str(running.port)),
    ):
        pass
    assert running.alive()


def test_ctrl_c_ends_it_quietly(running: Process) -> None:
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(15) == 0
    assert "Traceback" not in running.log.read_text()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_https(tmp_path: Path, bundle: str) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    arguments = ("--model", bundle, "--tls-certificate", str(certificate), "--tls-key", str(key))
    with process(tmp_path / "log", *arguments, scheme="https") as service:
        context = ssl.create_default_context(cafile=str(certificate))
        with httpx2.Client(verify=context, base_url=f"https://localhost:{service.port}") as client:
            assert client.get("/healthz").json() == {"status": "ok"}
            assert len(client.get("/v1/models/loudness.onnx").content) == Path(bundle).stat().st_size


@pytest.mark.slow
def test_workers_share_the_port_and_their_figures(tmp_path: Path, bundle: str, voice: np.ndarray) -> None:
    body = encode(voice, "wav int16")

    def post(_: int) -> int:
        return httpx2.post(f"{service.url}/v1/predict", content=body, headers=WAV, timeout=30).status_code

    with process(tmp_path / "log", "--model", bundle, "--workers", "2", "--threads", "1") as service:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(post, range(60))) == {200}
        for _ in range(5):  # whichever worker answers
            text = httpx2.get(f"{service.url}/metrics").text
            counted = re.search(r'emovox_requests_total\{.*route="/v1/predict",status="200"\} (\S+)', text)
            assert counted is not None
            assert float(counted[1]) == 60
            assert re.search(r"^emovox_queue_recordings 0.0$", text, re.MULTILINE)
        service.stop()
    assert "Traceback" not in service.log.read_text()


@pytest.mark.slow
def test_memory_stays_where_it_is(running: Process, voice: np.ndarray) -> None:
    """What uploads, failures and clients that leave have held is given back."""
    long = encode(np.tile(voice, 60), "wav int16")  # two minutes, 3.8 MB

    def use() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: running.client.post("/v1/predict", content=long, headers=WAV), range(12)))
        for _ in range(50):
            with running.connect() as connection:
                connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n")
                connection.sendall(b"Content-Length: 60000000\r\n\r\n" + bytes(500_000))
        for _ in range(100):
            running.client.post("/v1/predict", content=b"noise" * 10_000, headers=WAV)

    def after_use() -> float:
        use()
        return running.memory_mb()

    before = max(after_use() for _ in range(2))  # how many recordings are decoded at once is chance
    later = [after_use() for _ in range(4)]
    assert min(later[2:]) < before + 40, (before, later)
    assert max(later) < 600, later
    assert running.alive()
