"""Runs the service for tests: in a thread, or as the command in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from emovox.server import ServerSettings
from emovox.server.app import create_app
from emovox.server.protocol import ServiceConfig

COMMAND = [sys.executable, "-c", "from emovox.cli.main import main; main()", "serve"]


class Service:
    """A service that listens: `url`, `port`, and a client; `app` and `server` if it runs in this process."""

    def __init__(self, port: int, app: Any = None, server: Any = None) -> None:
        self.port = port
        self.app = app
        self.server = server
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx2.Client(base_url=self.url, timeout=30)

    def connect(self) -> socket.socket:
        """Open a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def alive(self) -> bool:
        """Does it answer others?"""
        return httpx2.get(f"{self.url}/healthz", timeout=10).json() == {"status": "ok"}


@contextmanager
def served(**changes: Any) -> Iterator[Service]:
    """Serve in a thread."""
    settings = ServerSettings(**{"port": 0, "keep_alive_s": 2, "shutdown_s": 5} | changes)
    app = create_app(settings)
    server = uvicorn.Server(ServiceConfig(app, limits=settings, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        service = Service(port, app, server)
        try:
            wait_until(lambda: server.started, 30)
            yield service
        finally:
            service.client.close()
            server.should_exit = True
            thread.join(30)


class Process(Service):
    """The command in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        super().__init__(port)
        self.process = process
        self.log = log

    def stop(self) -> int:
        """Ask it to end, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def memory_mb(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def process(log: Path, *arguments: str, scheme: str = "http") -> Iterator[Process]:
    """Start the command and wait until it is ready."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        log.open("wb") as out,
        subprocess.Popen([*COMMAND, "--port", "0", *arguments], stdout=out, stderr=out, env=environment) as child,
    ):
        try:
            wait_until(lambda: child.poll() is not None or address(log) is not None, 60)
            port = address(log)
            assert port is not None, log.read_text()
            service = Process(child, port, log)
            wait_until(lambda: _ready(scheme, service.port), 60)
            yield service
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    child.kill()


def address(log: Path) -> int | None:
    """The port that the log names."""
    found = re.search(r"serves on https?://\S+:(\d+)", log.read_text())
    return int(found[1]) if found else None


def wait_until(condition: Any, seconds: float) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def _ready(scheme: str, port: int) -> bool:
    try:
        return httpx2.get(f"{scheme}://127.0.0.1:{port}/readyz", timeout=5, verify=False).status_code == 200
    except httpx2.HTTPError:
        return False


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def read_answer(connection: socket.socket) -> bytes:
    """One whole answer with a Content-Length, or what comes before the other side closes."""
    data = b""
    while True:
        head, separator, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if separator and length and len(body) >= int(length[1]):
            return data
        part = connection.recv(65_536)
        if not part:
            return data
        data += part
