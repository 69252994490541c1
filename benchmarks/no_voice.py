"""How sure the packaged model is of what is no voice: music, effects; and whether it takes speech for such.

    python benchmarks/no_voice.py --speech ../shared/corpora --others FOLDER --output docs/results/no_voice.json

It hears 3 s of each file (in the middle; shorter files whole) and tells how confidence is distributed. Recordings that
anybody can have come with Debian's packages of games: music in supertux-data, words in 25 languages in ktuberling-data.

    apt-get download supertux-data ktuberling-data && for p in *.deb; do dpkg -x $p sounds; done
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track

from emovox import audio
from emovox.audio import Samples, Waveform
from emovox.errors import AudioError
from emovox.evaluation.cells import write_text
from emovox.inference.recognizer import Recognizer

CLIP = 3 * audio.MODEL_RATE
QUANTILES = (5, 25, 50, 75, 95)


def middles(folder: Path, limit: int) -> Iterator[Samples]:
    """Give the middle of up to `limit` files, chosen at random but always the same."""
    files = sorted(audio.find_audio([folder]))
    chosen = np.random.default_rng(0).permutation(len(files))[:limit]
    for index in track(sorted(chosen), description=str(folder), transient=True):
        try:
            samples = audio.load(files[index]).samples
        except AudioError:
            continue
        start = max(0, (len(samples) - CLIP) // 2)
        yield samples[start : start + CLIP]


def confidences(recognizer: Recognizer, folder: Path, limit: int) -> dict[str, object]:
    found = []
    for samples in middles(folder, limit):
        try:
            found.append(recognizer.predict(Waveform(samples, audio.MODEL_RATE)).confidence)
        except AudioError:  # silence, or too short
            continue
    shown = {str(share): round(float(np.percentile(found, share)), 3) for share in QUANTILES}
    return {
        "files": len(found),
        "confidence_percentiles": shown,
        "share_below_one_quarter": round(float(np.mean(np.array(found) < 0.25)), 4),
        "share_above_one_half": round(float(np.mean(np.array(found) > 0.5)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, action="append", default=[], help="may be given several times")
    parser.add_argument("--others", type=Path, action="append", default=[], help="may be given several times")
    parser.add_argument("--limit", type=int, default=300, help="files of each folder")
    parser.add_argument("--model", help="bundle; without, the packaged one")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    recognizer = Recognizer(options.model) if options.model else Recognizer()
    results = {
        f"{kind}: {folder.name}": confidences(recognizer, folder, options.limit)
        for kind, folders in (("speech", options.speech), ("others", options.others))
        for folder in folders
    }
    text = json.dumps({"model": recognizer.meta.name, "results": results}, indent=1)
    print(text)
    if options.output:
        write_text(options.output, text + "\n")


if __name__ == "__main__":
    main()
