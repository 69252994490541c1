"""Measure the feature store with 50,000 recordings: computing them all, and reading them all again.

    python benchmarks/feature_store.py --output docs/results/features.json

The recordings are noise of 0.2 s at 8 kHz, so that the store's own work counts and not that of decoding.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from emovox.features import FeatureStore
from emovox.features.pool import processors

RATE = 8_000


def make_recordings(folder: Path, count: int) -> list[Path]:
    """Write recordings that all differ."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number // 1000:02}" / f"{number:05}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, random.integers(-3_000, 3_000, RATE // 5, np.int16), RATE)
        paths.append(path)
    return paths


def measure(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        recordings_folder = Path(temporary) / "recordings"
        recordings_folder.mkdir()
        recordings = make_recordings(recordings_folder, count)
        store = FeatureStore(Path(temporary) / "store")
        seconds = []
        for expected_reuse in (0, count):
            started = time.perf_counter()
            extraction = store.extract(recordings, "classic")
            seconds.append(round(time.perf_counter() - started, 1))
            assert extraction.reused == expected_reuse
            assert not extraction.failures
        files = list(store.root.rglob("*.npy"))
        folders = {file.parent for file in files}
        return {
            "recordings": count,
            "processes": processors(),
            "first_run_s": seconds[0],
            "second_run_s": seconds[1],
            "bytes_an_entry": sum(file.stat().st_size for file in files) // len(files),
            "folders": len(folders),
            "entries_in_the_fullest_folder": max(len(list(folder.iterdir())) for folder in folders),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=50_000)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write or update")
    options = parser.parse_args()
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    results["store"] = measure(options.recordings)
    print(results["store"])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
