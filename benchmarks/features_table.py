"""Write the tables of docs/results/features.md from the figures in docs/results/features.json.

python benchmarks/features_table.py docs/results/features.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def page(results: dict[str, Any]) -> str:
    parity, speed, store = results["parity"], results["speed"], results["store"]
    equal = table(
        ("rate, Hz", "clips", f"over {parity['tolerance']:g}", "MFCC", "chroma", "mel"),
        [
            (
                f"{int(rate):,}",
                f"{row['clips']:,}",
                row["over_tolerance"],
                *(f"{row[f'max_{group}']:.1e}" for group in ("mfcc", "chroma", "mel")),
            )
            for rate, row in parity["by_rate"].items()
        ],
    )
    fast = table(
        ("rate, Hz", "librosa, ms", "emovox, ms", "times as fast", "10 % to 90 % of runs", "runs"),
        [
            (
                f"{int(rate):,}",
                row["librosa_ms"],
                row["emovox_ms"],
                f"**{row['ratio']}**",
                f"{row['ratio_p10']} to {row['ratio_p90']}",
                row["runs_each"],
            )
            for rate, row in speed["by_rate"].items()
        ],
    )
    return f"""# The `classic` features: equal to librosa, and faster

Made by `benchmarks/features_table.py` from [features.json](features.json).

## Equal
Largest difference between `classic` and the reference study's librosa recipe (librosa {parity["librosa"]}, NumPy
{parity["numpy"]}), relative to the range of each group of features, over recordings of EmoDB, RAVDESS and TESS: all at
their own 16 kHz, every eighth at the other rates, resampled.

{equal}

    python benchmarks/classic_features.py --parity ../shared/corpora --output docs/results/features.json

## Faster
Clips of {speed["clip_s"]} s (the mean of RAVDESS speech), {speed["clock"]}; each clip by both in turn, after a
warm-up; the median of all runs. Librosa {speed["librosa"]}, NumPy {speed["numpy"]}, Python {speed["python"]},
{speed["processor"]}.

{fast}

    python benchmarks/classic_features.py --speed ../shared/corpora/ravdess --output docs/results/features.json

## The store
{store["recordings"]:,} recordings of 0.2 s on {store["processes"]} processors: {store["first_run_s"]:g} s to compute
and keep them all, {store["second_run_s"]:g} s to read them all again; {store["bytes_an_entry"]} bytes an entry, at most
{store["entries_in_the_fullest_folder"]} entries in one of {store["folders"]} folders,
{store["peak_memory_mib"]} MiB of memory in the main process.

    python benchmarks/feature_store.py --output docs/results/features.json
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="what classic_features.py and feature_store.py wrote")
    data: Path = parser.parse_args().data
    data.with_suffix(".md").write_text(page(json.loads(data.read_text())))


if __name__ == "__main__":
    main()
