"""From rows to a bundle: fit a model on all of them, measure it on unseen speakers beside, and write one file.

A training has a folder (a *run*) in which everything is kept that it would be a pity to lose:

- ``evaluation/``: the study that gives the recorded scores, cell by cell; of a model with recipes
  (`emovox.evaluation.tasks.Outcome`) one for each, such as ``evaluation-5/``: scores of another one are not its own;
- ``checkpoint/``: the state of a network after its last epoch;
- ``run.json``, ``inputs.npz``: what a network is trained on, so that `export_run` can make a bundle of a training that
  was broken off.

The same call goes on from there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emovox import manifest
from emovox.audio import MODEL_RATE
from emovox.errors import ModelError
from emovox.evaluation.card import model_card, permits
from emovox.evaluation.choices import ModelChoice, plain_value
from emovox.evaluation.inputs import Inputs
from emovox.evaluation.protocols import STUDY_SEED, EvaluationProtocol, SpeakerFolds, validation_split
from emovox.evaluation.provenance import provenance
from emovox.evaluation.results import Summary, describe_corpora
from emovox.evaluation.runs import CHECKPOINT, Run, Trained, keep_run, write_bundle
from emovox.evaluation.splitting import Indices
from emovox.evaluation.study import Progress, evaluate
from emovox.evaluation.tasks import Data, fit_model
from emovox.inference.bundle import BundleMetadata
from emovox.models.catalog import ModelSpec, find


def train(
    choice: str | ModelChoice,
    inputs: Inputs,
    *,
    out: str | os.PathLike[str],
    run: str | os.PathLike[str] | None = None,
    protocols: Sequence[EvaluationProtocol] = (),
    name: str | None = None,
    seed: int = STUDY_SEED,
    jobs: int = 1,
    show_epochs: bool = False,
    progress: Progress | None = None,
    learning: Callable[[int, int], None] | None = None,
) -> Trained:
    """Fit a model on all rows and write it as a bundle.

    The scores in the bundle are measured with models of the same kind under `protocols`, each fitted on a part of the
    rows; the bundle's own model has seen every row, so it could not be tested on any of them.

    Args:
        choice: a model of the catalogue.
        inputs: rows, with the kind of input that the model takes.
        out: the bundle to write, by custom ``.onnx``.
        run: folder of the training; None puts it beside the bundle, with the ending ``.run``.
        protocols: how the scores are measured; without any, none are recorded.
        name: of the model; None takes the bundle's file name.
        seed: of everything that is drawn.
        jobs: processes that measure the scores.
        show_epochs: show a progress bar of a network's epochs.
        progress: as for `evaluate`, of the measuring.
        learning: called with (done, in all) while a speechnet is fitted.

    Raises:
        ModelError: if the model is unknown, or cannot be fitted or exported.
        ProtocolError: if a protocol cannot be carried out on these rows, or `run` belongs to other rows.
    """
    chosen = ModelChoice(choice) if isinstance(choice, str) else choice
    spec = find(chosen.name)
    target, folder = Path(out), Path(run) if run is not None else Path(out).with_suffix(".run")
    labels = tuple(sorted(set(inputs.truth.tolist())))
    if len(labels) < 2:
        raise ModelError(f"there is only the emotion {', '.join(labels)}: a model needs two or more to tell apart")
    folder.mkdir(parents=True, exist_ok=True)
    model = spec.create(seed=seed, **chosen.parameters)
    recipe = getattr(model, "recipe", "")
    measured = folder / (f"evaluation-{recipe}" if recipe else "evaluation")
    scores = _measure(chosen, inputs, labels, protocols, measured, seed, jobs, progress)
    fit, validation = rows_to_fit(chosen, inputs, seed)
    meta = BundleMetadata(
        name=name or target.stem,
        labels=labels,
        input=spec.input,
        sample_rate=MODEL_RATE if spec.input == "waveform" else None,
        feature_version=inputs.versions.get(spec.input) or None,
        max_seconds=_longest(spec),
        training=_describe_training(chosen, inputs, validation, seed),
        licence=" and ".join(_licences(inputs)),
        permits=permits(_licences(inputs)),
        scores=scores,
    )
    data = Data(inputs.values[spec.input], inputs.truth, inputs.speakers, inputs.corpora)
    if spec.family == "network":
        meta = dataclasses.replace(meta, card=model_card(meta))
        keep_run(folder, Run(chosen.name, _plain(chosen), seed, data, fit, validation, meta))
        model.set_params(progress=show_epochs, checkpoint_dir=str(folder / CHECKPOINT))
    elif spec.family == "speechnet":
        model.set_params(progress=learning)
    fit_model(model, data, fit, validation)
    return write_bundle(model, target, _with_what_was_learned(meta, model))


def _with_what_was_learned(meta: BundleMetadata, model: Any) -> BundleMetadata:
    """Add what only the fitted model knows: calibration, what adapts it, whose pretrained weights are in it."""
    training = dict(meta.training)
    pretrained = getattr(model, "pretrained_", None)
    if pretrained:
        training["pretrained"] = pretrained
    known = dataclasses.replace(
        meta,
        training=training,
        temperature=getattr(model, "temperature_", meta.temperature),
        neutral=_neutral(meta.labels, model),
        spread=getattr(model, "spread_", None),
    )
    return dataclasses.replace(known, card=model_card(known))


def _neutral(labels: Sequence[str], model: Any) -> tuple[float, ...] | None:
    """What a model that can adapt says of its default reference, in the order of `labels`; None of others."""
    if not hasattr(model, "neutral_probabilities"):
        return None
    by_label = dict(zip(model.classes_, model.neutral_probabilities(), strict=True))
    return tuple(float(by_label[label]) for label in labels)


def rows_to_fit(choice: ModelChoice, inputs: Inputs, seed: int) -> tuple[Indices, Indices]:
    """Divide all rows into rows to fit and rows to validate; the latter are empty for models that need none.

    Validation speakers are not fitted, where speakers are known.
    """
    everything = np.arange(len(inputs.table))
    if not choice.wants_validation:
        return everything, np.empty(0, dtype=np.intp)
    return validation_split(inputs.table, everything, SpeakerFolds(unknown_speakers="aside"), seed=seed)


def _measure(
    choice: ModelChoice,
    inputs: Inputs,
    labels: Sequence[str],
    protocols: Sequence[EvaluationProtocol],
    folder: Path,
    seed: int,
    jobs: int,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    if not protocols:
        return []
    results = evaluate(
        [choice], inputs, protocols, out=folder, labels=labels, seeds=[seed], jobs=jobs, progress=progress
    )
    summaries = [
        one
        for one in results.summaries
        if (one.model, one.seed) == (choice.title, seed)
        and one.protocol["key"] in {protocol.key for protocol in protocols}
    ]
    for summary in summaries:
        for fold, error in summary.failures:
            raise ModelError(f"{choice.title} failed in fold {fold}: {error['message']}", code=error["code"])
    return [score_record(summary) for summary in summaries]


def score_record(summary: Summary) -> dict[str, Any]:
    """Give a result in the form in which bundles record it.

    Raises:
        ModelError: if no fold was finished.
    """
    scores = summary.scores
    if scores is None:
        raise ModelError(f"{summary.model} has no scores under {summary.protocol['name']}")
    return {
        "protocol": summary.protocol["name"],
        "description": summary.protocol["description"],
        "separates_speakers": summary.protocol["separates_speakers"],
        "seed": summary.seed,
        "clips": scores.clips,
        "speakers": scores.speakers,
        "uar": round(scores.uar, 4),
        "uar_interval": [round(scores.interval.uar.low, 4), round(scores.interval.uar.high, 4)],
        "interval_over": scores.interval.over,
        "accuracy": round(scores.accuracy, 4),
        "weighted_f1": round(scores.weighted_f1, 4),
        "ece": round(scores.ece, 4),
        "recall": {row.label: round(row.recall, 4) for row in scores.report if row.label in scores.labels},
        "corpora": {
            name: {"clips": part.clips, "speakers": part.speakers, "uar": round(part.uar, 4)}
            for name, part in summary.corpus_scores
        },
    }


def _describe_training(choice: ModelChoice, inputs: Inputs, validation: Indices, seed: int) -> dict[str, Any]:
    origin = provenance()
    return {
        "model": choice.name,
        # Where a file lay on the machine that trained is nobody's business.
        "parameters": {key: plain_value(value) for key, value in _plain(choice).items()},
        "seed": seed,
        "clips": len(inputs.table),
        "validation_clips": len(validation),
        "speakers": len(set(inputs.speakers) - {""}),
        "corpora": describe_corpora(inputs.table),
        "manifest": manifest.fingerprint(inputs.table),
        "emovox": origin["emovox"],
        "revision": origin["revision"],
        "libraries": origin["libraries"],
    }


def _plain(choice: ModelChoice) -> dict[str, object]:
    """Give the parameters that can be written as JSON."""
    plain = {key: value for key, value in choice.parameters.items() if isinstance(value, str | int | float | bool)}
    return plain | {key: None for key, value in choice.parameters.items() if value is None}


def _licences(inputs: Inputs) -> list[str]:
    known = [
        corpus["licence"] or f"unknown licence ({corpus['name'] or 'own recordings'})"
        for corpus in describe_corpora(inputs.table)
    ]
    return list(dict.fromkeys(known))


def _longest(spec: ModelSpec) -> float | None:
    if spec.input != "waveform":
        return None
    from emovox.models.speechnet import MAX_SECONDS

    return MAX_SECONDS
