"""Small corpora made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def put(root: Path, *names: str, seconds: float = 0.5) -> None:
    """Make recordings of a quiet tone."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.sin(np.arange(round(8_000 * seconds)) / 9), 8_000)
