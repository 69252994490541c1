"""Measure the `classic` features against the librosa recipe: equal values, and how much faster on one core.

    python benchmarks/classic_features.py --parity FOLDER... --output docs/results/features.json
    python benchmarks/classic_features.py --speed FOLDER --output docs/results/features.json

Both may be given at once. A part that was not measured keeps its figures in the output file.
"""

from __future__ import annotations

import os

# One core for everybody; the libraries read this when they are loaded.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import soxr

from emovox import audio
from emovox.features.classic import CLASSIC_VERSION, classic

Floats = npt.NDArray[np.float32]

GROUPS = {"mfcc": slice(0, 40), "chroma": slice(40, 52), "mel": slice(52, 180)}
OTHER_RATES = (8_000, 22_050, 24_414, 44_100, 48_000)
CLIP_S = 3.7
"""Mean length of RAVDESS speech."""
TOLERANCE = 1e-3


def recipe(samples: Floats, rate: int) -> Floats:
    """Compute the reference study's features, as published, with librosa."""
    magnitude = np.abs(librosa.stft(samples))
    mfcc = np.mean(librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=40).T, axis=0)
    chroma = np.mean(librosa.feature.chroma_stft(S=magnitude, sr=rate).T, axis=0)
    mel = np.mean(librosa.feature.melspectrogram(y=samples, sr=rate).T, axis=0)
    return np.concatenate([mfcc, chroma, mel])


def deviations(ours: Floats, theirs: Floats) -> dict[str, float]:
    """Give the largest difference in each group, relative to the group's range in the reference."""
    return {
        name: float(np.abs(ours[part] - theirs[part]).max() / np.ptp(theirs[part])) for name, part in GROUPS.items()
    }


def measure_parity(folders: Sequence[Path], *, every: int) -> dict[str, Any]:
    """Compare all clips at their own rate, and every few at other rates."""
    files = list(audio.find_audio(folders))
    found: dict[str, list[dict[str, float]]] = {}
    for number, file in enumerate(files):
        waveform = audio.load(file, rate=None)
        rates = [waveform.rate, *(OTHER_RATES if number % every == 0 else ())]
        for rate in dict.fromkeys(rates):
            samples = (
                waveform.samples if rate == waveform.rate else soxr.resample(waveform.samples, waveform.rate, rate)
            )
            found.setdefault(str(rate), []).append(deviations(classic(samples, rate), recipe(samples, rate)))
        if number % 100 == 0:
            print(f"{number}/{len(files)}", flush=True)
    return {
        rate: {
            "clips": len(clips),
            "over_tolerance": sum(max(clip.values()) > TOLERANCE for clip in clips),
            **{f"max_{name}": max(clip[name] for clip in clips) for name in GROUPS},
        }
        for rate, clips in sorted(found.items(), key=lambda item: int(item[0]))
    }


def clips_for_timing(folder: Path, rate: int, count: int) -> Iterator[Floats]:
    """Cut or repeat recordings to exactly CLIP_S, so that all rounds cost the same."""
    files = list(audio.find_audio([folder]))
    for file in files[:: max(1, len(files) // count)][:count]:
        yield np.resize(audio.load(file, rate=rate).samples, round(CLIP_S * rate))


def measure_speed(folder: Path, *, count: int, rounds: int) -> dict[str, Any]:
    """Time both on the same clips in turn, after a warm-up that compiles librosa's code and fills all caches."""
    results = {}
    for rate in (48_000, 16_000):
        clips = list(clips_for_timing(folder, rate, count))
        for clip in clips:
            recipe(clip, rate)
            classic(clip, rate)
        seconds: dict[str, list[float]] = {"librosa": [], "emovox": []}
        functions: dict[str, Callable[[Floats, int], Floats]] = {"librosa": recipe, "emovox": classic}
        for _ in range(rounds):
            for clip in clips:
                for name, function in functions.items():
                    # CPU time of this process, which has one thread at work: others on the machine count less.
                    started = time.process_time()
                    function(clip, rate)
                    seconds[name].append(time.process_time() - started)
        ratios = np.array(seconds["librosa"]) / np.array(seconds["emovox"])
        low, ratio, high = np.percentile(ratios, [10, 50, 90])
        results[str(rate)] = {
            "clips": len(clips),
            "runs_each": len(ratios),
            "librosa_ms": round(1e3 * float(np.median(seconds["librosa"])), 2),
            "emovox_ms": round(1e3 * float(np.median(seconds["emovox"])), 2),
            "ratio": round(float(ratio), 2),
            "ratio_p10": round(float(low), 2),
            "ratio_p90": round(float(high), 2),
        }
        print(rate, results[str(rate)], flush=True)
    return {"clip_s": CLIP_S, "clock": "CPU time of one process with one thread", "by_rate": results}


def versions() -> dict[str, str]:
    """Say what was compared on what."""
    processor = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "classic": CLASSIC_VERSION,
        "librosa": version("librosa"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "processor": processor,
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parity", type=Path, nargs="+", metavar="FOLDER", help="compare values on these recordings")
    parser.add_argument("--every", type=int, default=8, help="try other rates on every n-th recording")
    parser.add_argument("--speed", type=Path, metavar="FOLDER", help="time clips made from these recordings")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write or update")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # librosa warns of every clip that is shorter than a window
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    if options.parity:
        results["parity"] = {**versions(), "tolerance": TOLERANCE}
        results["parity"]["by_rate"] = measure_parity(options.parity, every=options.every)
    if options.speed:
        results["speed"] = {**versions(), **measure_speed(options.speed, count=options.clips, rounds=options.rounds)}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
