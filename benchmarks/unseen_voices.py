"""How well speechnet, the network behind the packaged model, hears emotion in voices that it was not trained on.

    python benchmarks/unseen_voices.py ../shared/corpora --weights ../shared/weights/whisper-base-encoder-3.safetensors
    python benchmarks/unseen_voices.py ../shared/corpora --weights ... --only ravdess --only corpus
    python benchmarks/unseen_voices.py ../shared/corpora --weights ... --model speechnet-small \
      -o docs/results/unseen_voices_small.json
    python benchmarks/unseen_voices.py --page [-o ...]

The first measures everything and writes docs/results/unseen_voices.json part by part, the second some parts, the third
another model; the fourth writes the tables (docs/results/unseen_voices.md) from that file. Embeddings are kept in the
user's cache: a run that was killed goes on quickly. What is adapted is said so: from the embeddings of the tested
speaker the mean of other clips of the same speaker is taken, whose labels nobody looks at.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track
from sklearn.base import clone
from unseen_page import page

import emovox
from emovox.corpora.scanning import scan
from emovox.emotions import EMOTIONS
from emovox.evaluation.cells import write_text
from emovox.evaluation.conditions import babble_for, degrade
from emovox.evaluation.inputs import WAVEFORM, Inputs, read_inputs
from emovox.evaluation.metrics import Scores, ece, score
from emovox.evaluation.planning import listening_sample
from emovox.evaluation.protocols import LeaveOneCorpusOut, LeaveOneSpeakerOut, RandomSplit, SpeakerFolds
from emovox.evaluation.splitting import Fold
from emovox.inference.log_ratios import log_ratios, trust
from emovox.models.catalog import create
from emovox.models.speechnet import SpeechNet

RESULTS = Path("docs/results/unseen_voices.json")
SEED = 7
ACTORS = ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22))
"""The six folds in which RAVDESS is tested in the literature."""

FEW = (2, 8, 30)
CROPS_S = (0.5, 1.0, 2.0)
CONDITIONS = ("babble-10db", "telephone", "white-10db", "reverb-600ms")


@dataclass
class Part:
    """What is measured together: rows, folds, and what is tried on the tested clips."""

    title: str
    rows: Callable[[pd.DataFrame], pd.DataFrame]
    folds: Callable[[pd.DataFrame], list[Fold]]
    adapted: bool = True
    tests: Mapping[str, Callable[[Inputs, int], Any]] = field(default_factory=dict)


def seven(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["emotion"].isin(EMOTIONS)]


def of_corpus(name: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table[table["corpus"] == name]


def actor_folds(table: pd.DataFrame) -> list[Fold]:
    return [_fold(table, {f"ravdess-{actor:02}" for actor in actors}) for actors in ACTORS]


def tess_folds(table: pd.DataFrame) -> list[Fold]:
    return [_fold(table, {speaker}) for speaker in ("tess-OAF", "tess-YAF")]


def _fold(table: pd.DataFrame, tested: set[str]) -> Fold:
    test = table["speaker"].isin(tested).to_numpy()
    return Fold(", ".join(sorted(tested)), np.flatnonzero(~test), np.flatnonzero(test))


def crop(seconds: float) -> Callable[[Inputs, int], Any]:
    """Cut the middle out of a clip."""

    def cut(inputs: Inputs, row: int) -> Any:
        samples, wanted = inputs.values[WAVEFORM][row], round(seconds * 16_000)
        start = max(0, (len(samples) - wanted) // 2)
        return samples[start : start + wanted]

    return cut


def disturbed(condition: str) -> Callable[[Inputs, int], Any]:
    """Hear a clip under a condition of docs/robustness.md."""

    def disturb(inputs: Inputs, row: int) -> Any:
        clips = inputs.values[WAVEFORM]
        crowd = [clips[other] for other in babble_for(inputs.speakers, row, seed=SEED)]
        return degrade(clips[row], condition, seed=SEED + row, babble=crowd)

    return disturb


PARTS: dict[str, Part] = {
    "corpus": Part("One corpus out, trained on the two others; seven emotions", seven, LeaveOneCorpusOut().folds),
    "speaker": Part(
        "Five folds of speakers over all corpora; seven emotions",
        seven,
        SpeakerFolds(n_splits=5, seed=SEED).folds,
        tests={f"middle {seconds:g} s": crop(seconds) for seconds in CROPS_S}
        | {condition: disturbed(condition) for condition in CONDITIONS},
    ),
    "ravdess": Part("RAVDESS speech, eight emotions, six folds of four actors", of_corpus("ravdess"), actor_folds),
    "emodb": Part(
        "EmoDB, seven emotions with boredom, one speaker out", of_corpus("emodb"), LeaveOneSpeakerOut().folds
    ),
    "tess": Part("One speaker of TESS out, trained on all others; seven emotions", seven, tess_folds),
    "random": Part(
        "Random split, a quarter tested: the same voices on both sides; seven emotions",
        seven,
        RandomSplit(test_size=0.25, seed=SEED).folds,
        adapted=False,
    ),
}


def references(model: SpeechNet, embedded: Any, ratios: Any, speakers: Any, count: int | None) -> Any:
    """Give the reference of each clip, from `count` other clips of its speaker, or from all clips of the speaker.

    Args:
        model: a fitted one.
        embedded, ratios: of each clip, what `SpeechNet.embed` and `log_ratios` give, unadapted.
        speakers: of each clip.
        count: None for all.
    """
    random = np.random.default_rng(SEED)
    found = np.zeros_like(embedded)
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        for row in own:
            heard = own if count is None else random.permutation(own[own != row])[:count]
            if len(heard):
                share = trust(len(heard), ratios[heard].mean(axis=0), model.spread_)
                found[row] = share * embedded[heard].mean(axis=0)
    return found


def measure(part: Part, inputs: Inputs, unfitted: SpeechNet) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Carry out a part; give name of the fold (empty for all together), name of the test, and the scores."""
    table = inputs.table
    labels = tuple(sorted(set(inputs.truth.tolist())))
    given: dict[str, Any] = {}
    folds = part.folds(table)
    for fold in track(folds, description=part.title, transient=True):
        found = predict(part, inputs, fold, labels, clone(unfitted))
        for name, probabilities in found.items():
            whole = given.setdefault(name, np.full((len(table), len(labels)), np.nan))
            filled = ~np.isnan(probabilities[:, 0])
            whole[fold.test[filled]] = probabilities[filled]
    for name, whole in given.items():
        rows = np.flatnonzero(~np.isnan(whole[:, 0]))
        yield "", name, _scored(inputs, rows, whole, labels)
        if "sample" not in name and "," not in name:
            for fold in folds:
                yield fold.name, name, _scored(inputs, fold.test, whole, labels)


def predict(part: Part, inputs: Inputs, fold: Fold, labels: tuple[str, ...], model: SpeechNet) -> dict[str, Any]:
    """Fit to a fold; give, for each test, the probabilities of its clips, NaN for those that are not in the sample."""
    clips: Any = inputs.values[WAVEFORM]
    model.fit(
        clips[fold.train],
        inputs.truth[fold.train],
        groups=inputs.speakers[fold.train],
        corpora=inputs.corpora[fold.train],
    )
    columns = [labels.index(label) for label in model.classes_]
    test = fold.test
    everything = np.ones(len(test), dtype=bool)
    found: dict[str, Any] = {}

    def keep(name: str, heard: Any, probabilities: Any) -> None:
        whole = np.full((len(test), len(labels)), np.nan)
        whole[heard] = 0.0
        whole[np.ix_(heard, columns)] = probabilities
        found[name] = whole

    unadapted = model.predict_proba(clips[test])
    keep("unadapted", everything, unadapted)
    if part.adapted:
        embedded, ratios = model.embed(clips[test]), log_ratios(unadapted, model.neutral_probabilities())
        for count in (*FEW, None):
            refs = references(model, embedded, ratios, inputs.speakers[test], count)
            probabilities = model.predict_proba(clips[test], references=refs)
            keep(f"adapted with {count or 'all'} unlabelled clips", everything, probabilities)
    if part.tests:
        heard = np.isin(test, listening_sample(inputs.table, seed=SEED))
        model.set_params(cache_dir=None)
        keep("unadapted, the sample as it is", heard, model.predict_proba(clips[test[heard]]))
        for name, change in part.tests.items():
            changed = [change(inputs, row) for row in test[heard]]
            keep(f"unadapted, {name}", heard, model.predict_proba(changed))
    return found


def _scored(inputs: Inputs, rows: Any, probabilities: Any, labels: tuple[str, ...]) -> dict[str, Any]:
    truth, speakers = inputs.truth[rows], inputs.speakers[rows]
    found: Scores = score(truth, probabilities[rows], labels, speakers=speakers)
    _, own, clips = np.unique(speakers, return_inverse=True, return_counts=True)
    return {
        "clips": found.clips,
        "speakers": found.speakers,
        "uar": round(found.uar, 4),
        "uar_low": round(found.interval.uar.low, 4),
        "uar_high": round(found.interval.uar.high, 4),
        "interval_over": found.interval.over,
        "accuracy": round(found.accuracy, 4),
        "ece": round(found.ece, 4),
        "ece_speakers_alike": round(ece(truth, probabilities[rows], labels, weight=1.0 / clips[own]), 4),
        "confusion": found.matrix.tolist(),
    }


def _known(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="?", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--model", default="speechnet", choices=["speechnet", "speechnet-small"])
    parser.add_argument("--only", action="append", choices=[*PARTS], help="may be given several times")
    parser.add_argument("--page", action="store_true", help="write the tables from what was measured")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.corpora is not None:
        if options.weights is None:
            parser.error("--weights is needed to measure")
        if _known(options.output).get("model", options.model) != options.model:
            parser.error(f"{options.output} holds figures of another model, name another file with -o")
        table = scan(str(options.corpora), durations=False).table
        for name in options.only or PARTS:
            part = PARTS[name]
            inputs = read_inputs(part.rows(table).reset_index(drop=True), [WAVEFORM])
            results: dict[str, Any] = {}
            model = create(options.model, seed=SEED, weights=options.weights)
            for fold, test, scores in measure(part, inputs, model):
                results.setdefault(test, {})[fold or "all"] = scores
                if not fold:
                    print(
                        f"{name:8} {test:42} UAR {100 * scores['uar']:.1f}  ECE {100 * scores['ece']:.1f}", flush=True
                    )
            known = _known(options.output) | {"model": options.model, "seed": SEED}
            known.setdefault("parts", {})[name] = {
                "title": part.title,
                "recipe": model.recipe,
                "emovox": emovox.__version__,
                "machine": platform.machine(),
                "labels": sorted(set(inputs.truth.tolist())),
                "results": results,
            }
            write_text(options.output, json.dumps(known, separators=(",", ":"), sort_keys=True) + "\n")
    elif not options.page:
        parser.error("give a folder of corpora to measure, or --page")
    if options.page or not options.only:
        results = json.loads(options.output.read_text(encoding="utf-8"))
        write_text(options.output.with_suffix(".md"), page(results, options.output.name))


if __name__ == "__main__":
    main()
