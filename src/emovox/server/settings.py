"""What the service is told when it starts: where it listens, what it serves, and all of its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields
from pathlib import Path

import platformdirs

from emovox.errors import ParameterError

MEGABYTE = 1024**2


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Settings of the service. The defaults suit one machine and its user; times are seconds, sizes bytes.

    Attributes:
        host, port: where it listens. Beyond loopback every request needs a key.
        models: bundles to serve, files or names; the first is the default one. Empty: those that come with emovox.
        keys_file: where hashes of API keys are kept.
        require_keys: ask for keys on loopback too, because a reverse proxy brings strangers there.
        origins: web pages of other origins that may use the service, such as ``https://example.org``.
        threads: threads that compute; None takes the processors at hand, at most 4.
        max_batch: clips of one length that are computed in one call.
        max_body_bytes: largest request body.
        max_upload_bytes: what all bodies together may hold in memory.
        max_files: recordings in one request.
        max_duration_s: longest recording that gets one answer.
        max_timeline_s: longest recording that gets a timeline.
        max_timelines: timelines at a time.
        max_streams: live streams at a time.
        queue_length: recordings that may wait or be worked on at a time.
        max_connections: open connections; the next one is closed at once.
        head_timeout_s: until the head of a request must have come.
        body_timeout_s, body_rate: a body must come within this time, and a second more for each `body_rate` bytes.
        write_timeout_s: how long a client may leave an answer unread.
        keep_alive_s: how long an idle connection is kept.
        shutdown_s: how long requests in flight may still take when the service is told to stop.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ()
    keys_file: Path | None = None
    require_keys: bool = False
    origins: tuple[str, ...] = ()
    threads: int | None = None
    max_batch: int = 8
    max_body_bytes: int = 64 * MEGABYTE
    max_upload_bytes: int = 512 * MEGABYTE
    max_files: int = 32
    max_duration_s: float = 600.0
    max_timeline_s: float = 4 * 3600.0
    max_timelines: int = 8
    max_streams: int = 100
    queue_length: int = 64
    max_connections: int = 2000
    head_timeout_s: float = 10.0
    body_timeout_s: float = 15.0
    body_rate: int = 10_000
    write_timeout_s: float = 30.0
    keep_alive_s: int = 15
    shutdown_s: int = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and field.name != "port" and value <= 0:
                raise ParameterError(f"{field.name} must be positive, got {value}")

    @property
    def needs_keys(self) -> bool:
        """Whether requests must carry a key."""
        return self.require_keys or not is_loopback(self.host)

    @property
    def keys_path(self) -> Path:
        """The file of keys, the user's own one if none was named."""
        return self.keys_file or default_keys_path()


def default_keys_path() -> Path:
    """The user's file of API keys."""
    return Path(platformdirs.user_config_dir("emovox"), "keys.json")


def is_loopback(host: str) -> bool:
    """Can only this machine reach `host`?

    Example:
        >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "192.168.0.2", "example.org")]
        [True, True, True, False, False, False]
    """
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
