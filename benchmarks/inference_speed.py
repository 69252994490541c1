"""Measure how long a packaged model takes for a clip of 3 s on one core, decoding excluded.

    python benchmarks/inference_speed.py [FILE|NAME]

Prints the median and the best (on a busy machine that is nearer to the truth), and what `onnxruntime` needs to load it.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time

import numpy as np

from emovox.inference.bundle import Bundle

RUNS = 50


def main() -> None:
    """Time calls of a bundle, the default one if none is named, and print the figures as JSON."""
    started = time.perf_counter()
    bundle = Bundle.load(sys.argv[1] if len(sys.argv) > 1 else None, threads=1)
    loaded_s = time.perf_counter() - started
    clip = np.random.default_rng(0).normal(scale=0.1, size=(1, 48_000)).astype(np.float32)
    bundle.run(clip)
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        bundle.run(clip)
        times.append(1000 * (time.perf_counter() - started))
    figures = {
        "bundle": str(bundle.identity),
        "bundle_mb": round(bundle.size / 1e6, 2),
        "load_s": round(loaded_s, 3),
        "clip_s": 3.0,
        "median_ms": round(statistics.median(times), 1),
        "best_ms": round(min(times), 1),
        "runs": RUNS,
        "threads": 1,
        "machine": platform.machine(),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
