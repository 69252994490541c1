"""How well and how fast `emovox corpora audit` finds copies, on real recordings.

Quality: a sample of the clips is changed in twelve ways and the copies are put among all originals; counted are the
copies that are found together with their original, and the found pairs of different origin. The thresholds of the audit
were chosen on the sample of seed 0; measured is on that of seed 1.

Scale: every real clip is played at several speeds; each speed counts as a recording of its own (no two of them fit
together), until there are 50,000. One in a hundred is a copy: a speed of a clip that is there already, with its ends
cut and its level changed. Reading is timed on the real files, the search on all 50,000.

    python benchmarks/audit_scale.py ../shared/corpora --output docs/results/audit.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from audit_variants import VARIANTS, cut, gain

from emovox import audio, manifest
from emovox.corpora import fingerprint as fp
from emovox.corpora.duplicates import Duplicates, find_duplicates
from emovox.corpora.prints import Clip, Prints, fingerprints

KNOWN_COPY = "03-01-03-01-02-01-07", "03-01-03-01-02-02-07"
SPEEDS = np.geomspace(0.75, 1.33, 11)


@dataclass(frozen=True)
class AtSpeed(Clip):
    """A clip that is played faster or slower; `changed` marks the copies."""

    speed: float = 1.0
    changed: bool = False

    def load(self) -> audio.Waveform:
        """Make it."""
        return _at_speed(audio.load(self.path, rate=fp.RATE), self)


def _at_speed(waveform: audio.Waveform, clip: AtSpeed) -> audio.Waveform:
    samples = soxr.resample(waveform.samples, fp.RATE * clip.speed, fp.RATE)
    if clip.changed:
        samples, _ = gain(-9)(*cut(0.2, 0.1)(samples, fp.RATE))
    return audio.Waveform(np.ascontiguousarray(samples), fp.RATE)


def _prints_at_speeds(clips: Sequence[AtSpeed]) -> list[fp.Fingerprint]:
    waveform = audio.load(clips[0].path, rate=fp.RATE)
    return [fp.fingerprint(_at_speed(waveform, clip)) for clip in clips]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, help="folder with real recordings")
    parser.add_argument("--clips", type=int, default=50_000, help="size of the search")
    parser.add_argument("--sample", type=int, default=300, help="clips that are changed in every way")
    parser.add_argument("--seed", type=int, default=1, help="of the sample; thresholds were chosen on that of seed 0")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    paths = [str(path) for path in audio.find_audio([options.corpora.absolute()])]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        reading = _reading(paths, cache, options.jobs)
        print(json.dumps(reading))
        quality = _quality(paths, Path(folder), cache, options)
        print(json.dumps(quality, indent=1))
    scale = _scale(paths, options.clips, options.jobs)
    print(json.dumps(scale))
    result = {
        "command": f"python benchmarks/audit_scale.py CORPORA --clips {options.clips} --sample {options.sample} "
        f"--seed {options.seed} --output docs/results/audit.json",
        "machine": {"processors": os.cpu_count(), "cpu": platform.processor() or platform.machine()},
        "fingerprint_version": fp.VERSION,
        "reading": reading,
        "quality": quality,
        "scale": scale,
    }
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        options.output.with_suffix(".md").write_text(report(result), encoding="utf-8")


def report(result: dict[str, Any]) -> str:
    """Write the measured figures as Markdown."""
    reading, quality, scale = result["reading"], result["quality"], result["scale"]
    changes = "\n".join(f"| {kind} | {recall:.1%} |" for kind, recall in quality["recall_by_change"].items())
    known = "found" if quality["original_copies_found"] else "not found"
    return f"""# Copies found by `emovox corpora audit`, measured

`{result["command"]}`; {result["machine"]["processors"]} processors ({result["machine"]["cpu"]}), shared with other
programs: processor seconds are the figures to compare.

## Quality
{quality["copies"]:,} changed copies of {quality["copies"] // len(quality["recall_by_change"])} clips among
{quality["originals"]:,} real recordings (the thresholds were chosen on another sample). Precision
{quality["precision"]:.2%}: {quality["wrong_pairs"]} of {quality["pairs_found"]:,} found pairs are not of one recording.
Recall {quality["recall"]:.2%}. The one pair of equal recordings that is known of in the corpora is {known}; other pairs
of unchanged recordings found: {max(0, quality["original_copies_found"] - 1)}.

| change | found |
|---|---|
{changes}

## Speed
| what | wall s | processor s |
|---|---|---|
| fingerprints of {reading["clips"]:,} files, {reading["processes"]} processes | {reading["first_run_s"]:,.0f} \
| {reading["first_run_cpu_s"]:,.0f} ({reading["cpu_ms_a_clip"]:.0f} ms a clip) |
| the same again, from the cache | {reading["from_cache_s"]:,.1f} | {reading["from_cache_cpu_s"]:,.1f} |
| search among {scale["clips"]:,} clips ({scale["frames"]:,} words), 1 process | {scale["search_s"]:,.0f} \
| {scale["search_cpu_s"]:,.0f} |

Of {scale["all_pairs"]:,} pairs {scale["candidates_compared"]:,} were compared. {scale["copies_found"]} of
{scale["copies_planted"]} planted copies (30 % cut off, 9 dB softer) were found, and {scale["wrong_pairs"]} pairs that
are none. The {scale["clips"]:,} recordings are the real ones at eleven speeds.
"""


def _reading(paths: list[str], cache: Path, jobs: int) -> dict[str, Any]:
    table = manifest.build([{"path": path} for path in paths])
    times, cpu = [], []
    for _ in ("first run", "second run, from the cache"):
        start, before = time.perf_counter(), _cpu_s()
        prints = fingerprints(table, jobs=jobs, cache=cache)
        times.append(time.perf_counter() - start)
        cpu.append(_cpu_s() - before)
    return {
        "clips": len(paths),
        "seconds_of_sound": round(sum(value.duration_s for value in prints.values if value), 1),
        "processes": jobs,
        "first_run_s": round(times[0], 1),
        "first_run_cpu_s": round(cpu[0], 1),
        "cpu_ms_a_clip": round(cpu[0] / len(paths) * 1e3, 1),
        "from_cache_s": round(times[1], 1),
        "from_cache_cpu_s": round(cpu[1], 1),
        "failures": len(prints.failures),
    }


def _cpu_s() -> float:
    """Processor seconds of this process and of its finished children: what other programs do does not count."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _quality(paths: list[str], folder: Path, cache: Path, options: argparse.Namespace) -> dict[str, Any]:
    chosen = np.random.default_rng(options.seed).choice(len(paths), options.sample, replace=False)
    rows = [{"path": path} for path in paths]
    origin: list[tuple[int, str]] = [(number, "") for number in range(len(paths))]
    for number in chosen.tolist():
        original = audio.load(paths[number], rate=None)
        for kind, change in VARIANTS.items():
            samples, rate = change(original.samples, original.rate)
            path = folder / f"{len(rows)}.wav"
            soundfile.write(path, np.clip(samples, -1, 1), rate, subtype="PCM_16")
            rows.append({"path": str(path)})
            origin.append((number, kind))
    table = manifest.build(rows)
    prints = fingerprints(table, jobs=options.jobs, cache=cache)
    start = time.perf_counter()
    found = find_duplicates(prints)
    seconds = time.perf_counter() - start
    return {
        "seed": options.seed,
        "originals": len(paths),
        "copies": len(rows) - len(paths),
        "search_s": round(seconds, 1),
    } | _score(found, origin, paths)


def _score(found: Duplicates, origin: list[tuple[int, str]], paths: list[str]) -> dict[str, Any]:
    """Recall: copies in the group of their original. Precision: pairs of equal origin among all pairs found."""
    names = [Path(path).stem for path in paths]
    alias = {names.index(KNOWN_COPY[1]): names.index(KNOWN_COPY[0])} if KNOWN_COPY[1] in names else {}
    origins = [alias.get(number, number) for number, _ in origin]
    group = {row: number for number, rows in enumerate(found.groups) for row in rows}
    recall: dict[str, list[bool]] = {kind: [] for kind in VARIANTS}
    for row, (number, kind) in enumerate(origin):
        if kind:
            recall[kind].append(row in group and group[row] == group.get(number))
    right = sum(origins[pair.first] == origins[pair.second] for pair in found.pairs)
    return {
        "candidates_compared": found.candidates,
        "pairs_found": len(found.pairs),
        "wrong_pairs": len(found.pairs) - right,
        "precision": round(right / max(1, len(found.pairs)), 5),
        "recall": round(float(np.mean([hit for hits in recall.values() for hit in hits])), 5),
        "recall_by_change": {kind: round(float(np.mean(hits)), 4) for kind, hits in recall.items()},
        "original_copies_found": sum(not origin[p.first][1] and not origin[p.second][1] for p in found.pairs),
    }


def _scale(paths: list[str], clips: int, jobs: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    copies = clips // 100
    by_path = {path: [AtSpeed(path, speed=float(speed)) for speed in SPEEDS] for path in paths}
    everything = [clip for speeds in zip(*by_path.values(), strict=True) for clip in speeds][: clips - copies]
    for number in rng.choice(len(everything), copies, replace=False).tolist():
        everything.append(AtSpeed(everything[number].path, speed=everything[number].speed, changed=True))
    batches: dict[str, list[AtSpeed]] = {}
    for clip in everything:
        batches.setdefault(clip.path, []).append(clip)
    start, before = time.perf_counter(), _cpu_s()
    with ProcessPoolExecutor(jobs) as pool:
        results = list(pool.map(_prints_at_speeds, batches.values(), chunksize=8))
    making, making_cpu = time.perf_counter() - start, _cpu_s() - before
    ordered = [clip for batch in batches.values() for clip in batch]
    values = [value for batch in results for value in batch]
    start, before = time.perf_counter(), _cpu_s()
    found = find_duplicates(Prints(ordered, values, []))
    searching, searching_cpu = time.perf_counter() - start, _cpu_s() - before
    wanted = {(clip.path, clip.speed) for clip in ordered if clip.changed}
    hits, wrong = set(), 0
    for pair in found.pairs:
        one, two = ordered[pair.first], ordered[pair.second]
        same = (one.path, one.speed) == (two.path, two.speed)
        known = {Path(one.path).stem, Path(two.path).stem} == {*KNOWN_COPY} and one.speed == two.speed
        hits |= {(one.path, one.speed)} if same else set()
        wrong += not same and not known
    return {
        "clips": len(ordered),
        "frames": int(sum(np.count_nonzero(value.weak) for value in values)),
        "fingerprints_s": round(making, 1),
        "fingerprints_cpu_s": round(making_cpu, 1),
        "search_s": round(searching, 1),
        "search_cpu_s": round(searching_cpu, 1),
        "all_pairs": len(ordered) * (len(ordered) - 1) // 2,
        "candidates_compared": found.candidates,
        "copies_planted": len(wanted),
        "copies_found": len(hits & wanted),
        "wrong_pairs": wrong,
    }


if __name__ == "__main__":
    main()
