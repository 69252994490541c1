"""A study whose cells are made up, so that what is made of results can be tested without training anything."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from emovox import manifest
from emovox.emotions import EMOTIONS
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import STEP, TEST, VALIDATION, Predictions
from emovox.evaluation.planning import Planned
from emovox.studies.config import StudyConfig
from emovox.studies.reading import StudyResults, read_study
from emovox.studies.rows import write_rows
from emovox.studies.running import STUDY_FILE

SPEAKERS = {"emodb": 10, "ravdess": 12, "tess": 2}
CLIPS = {"emodb": 18, "ravdess": 21, "tess": 42}


def made_up_table() -> pd.DataFrame:
    """Three corpora with what sets the real ones apart: emotions that are missing, genders, languages, intensities."""
    rows = []
    for corpus, speakers in SPEAKERS.items():
        emotions = [label for label in EMOTIONS if corpus != "emodb" or label != "surprise"]
        for speaker in range(speakers):
            for clip in range(CLIPS[corpus]):
                emotion = emotions[clip % len(emotions)]
                strong = clip // len(emotions) == 1 and emotion != "neutral"
                rows.append(
                    {
                        "path": f"/made-up/{corpus}-{speaker}-{clip}.wav",
                        "corpus": corpus,
                        "speaker": f"{corpus}-{speaker:02d}",
                        "gender": "male" if speaker % 2 and corpus != "tess" else "female",
                        "language": "de" if corpus == "emodb" else "en",
                        "emotion": emotion,
                        "intensity": ("strong" if strong else "normal") if corpus == "ravdess" else "",
                    }
                )
    return manifest.build(rows)


def begin(config: StudyConfig, table: pd.DataFrame, out: Path) -> None:
    """Write what a study's folder holds besides cells; its file says all that a real one's says."""
    write_rows(out, table)
    corpora = [
        {
            "name": name,
            "clips": len(rows),
            "speakers": int(rows["speaker"].nunique()),
            "licence": "CC0-1.0",
            "synthetic": False,
        }
        for name, rows in table.groupby("corpus")
    ]
    about = {
        "format": 2,
        "clips": len(table),
        "speakers": int(table["speaker"].nunique()),
        "corpora": corpora,
        "absent": [name for name in config.corpora if name not in set(table["corpus"])],
        "manifest": manifest.fingerprint(table),
        "emotions": {label: int((table["emotion"] == label).sum()) for label in EMOTIONS},
        "dropped": {"calm": 5},
        "mapped": {},
        "unreadable": [{"name": "broken.wav", "code": "unreadable"}],
        "written": "2000-01-01T00:00:00+00:00",
    }
    (out / STUDY_FILE).write_text(json.dumps(about), encoding="utf-8")


def fill(
    config: StudyConfig,
    out: Path,
    *,
    skill: Mapping[str, float] | None = None,
    wanted: Callable[[Planned], bool] = lambda _: True,
    failed: Callable[[Planned], bool] = lambda _: False,
) -> StudyResults:
    """Make up the cells of a study, and read it.

    Args:
        config: the study.
        out: its folder, after `begin`.
        skill: by a model's name how well it knows emotions; 1.0 for others.
        wanted: whether a cell is made; others are missing.
        failed: whether a cell is recorded as failed.
    """
    study = read_study(config, out)
    store = CellStore(out)
    truth, speakers = (study.table[name].to_numpy(dtype=str) for name in ("emotion", "speaker"))
    for number, one in enumerate({one.task.key: one for part in study.plans for one in part.cells}.values()):
        if not wanted(one):
            continue
        if failed(one):
            error = {"code": "diverged", "message": "the training diverged"}
            store.write(dataclasses.replace(one.cell, error=error), None)
            continue
        random = np.random.default_rng(number)
        base = (skill or {}).get(one.task.model, 1.0) + (2.5 if "random" in one.task.key.protocol else 0.0)
        rows = {TEST: one.task.test, VALIDATION: one.task.validation}
        views = {
            name: _predicted(truth[of], speakers[of], base, study.numbers[of], random)
            for name, of in rows.items()
            if len(of)
        }
        for place, condition in enumerate(one.task.conditions):
            of = one.task.sample
            views[condition] = _predicted(truth[of], speakers[of], base - 0.04 * place, study.numbers[of], random)
        details: dict[str, Any] = dict(one.cell.details)
        if one.cell.details["family"] == "network":
            details["history"] = made_up_history(one, random)
        if one.task.training_scores:
            details["training_scores"] = {"uar": 0.99, "accuracy": 0.98, "weighted_f1": 0.97}
        seconds = {"train": 20.0, "train_cpu": 10.0 + number, "test": 0.2, "test_cpu": 0.1}
        store.write(dataclasses.replace(one.cell, seconds=seconds, details=details), views)
    return study  # it reads cells when it is asked for them


def _predicted(
    truth: npt.NDArray[np.str_],
    speakers: npt.NDArray[np.str_],
    skill: float,
    numbers: npt.NDArray[np.intp],
    random: np.random.Generator,
) -> Predictions:
    """Probabilities that know some emotions of some speakers, and are too sure of themselves."""
    known = {name: random.normal(scale=0.6) for name in sorted(set(speakers))}
    logits = random.normal(scale=1.6, size=(len(truth), len(EMOTIONS)))
    places = [EMOTIONS.index(label) for label in truth]
    logits[np.arange(len(truth)), places] += skill + np.array([known[name] for name in speakers])
    raised = np.exp(1.5 * logits)
    probabilities = np.rint(raised / raised.sum(axis=1, keepdims=True) / STEP) * STEP
    return Predictions.of(numbers, probabilities)


def made_up_history(one: Planned, random: np.random.Generator) -> dict[str, Any]:
    """Curves of a network that learns, and then learns by heart."""
    most = int(str(one.task.parameters.get("epochs", 100)))
    epochs = max(2, int(most * 0.6)) if one.task.parameters.get("early_stopping") else most
    steps = np.arange(1, epochs + 1)
    noise = random.normal(scale=0.01, size=(4, epochs))
    curves = {
        "loss": 3.0 * np.exp(-steps / 20) + 0.1,
        "accuracy": 1 - 0.8 * np.exp(-steps / 15),
        "val_loss": 3.0 * np.exp(-steps / 20) + 0.4 + 0.004 * steps,
        "val_accuracy": 0.85 - 0.65 * np.exp(-steps / 15),
    }
    told: dict[str, Any] = {
        name: np.round(values + shake, 5).tolist() for (name, values), shake in zip(curves.items(), noise, strict=True)
    }
    if not len(one.task.validation):
        return {"loss": told["loss"], "accuracy": told["accuracy"], "epochs": epochs, "best_epoch": None}
    return told | {"epochs": epochs, "best_epoch": int(np.argmin(told["val_loss"])) + 1}
