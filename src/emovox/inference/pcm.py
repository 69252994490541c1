"""Samples as they travel: 16-bit integers, little-endian."""

from __future__ import annotations

import numpy as np

from emovox.audio import Samples

BYTES_PER_SAMPLE = 2
_FULL_SCALE = 32_768


def to_pcm16(samples: Samples) -> bytes:
    """Write samples of full scale 1 as 16-bit integers; what exceeds full scale is clipped.

    Example:
        >>> to_pcm16(np.array([0, 0.5, -2], np.float32)).hex()
        '000000400080'
    """
    scaled = np.clip(np.rint(samples * np.float32(_FULL_SCALE)), -_FULL_SCALE, _FULL_SCALE - 1)
    return bytes(scaled.astype("<i2").tobytes())


def from_pcm16(data: bytes | bytearray | memoryview) -> Samples:
    """Read 16-bit integers as samples of full scale 1, shape (n,); the number of bytes must be even."""
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)
