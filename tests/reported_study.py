"""A study of several parts, with made-up cells, for what the report makes of it; and how tests look at its tables."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_up_study
import numpy as np
import pandas as pd

from emovox import manifest
from emovox.emotions import EMOTIONS
from emovox.evaluation.cells import TEST
from emovox.studies import copies
from emovox.studies.config import StudyConfig
from emovox.studies.reading import StudyResults
from emovox.studies.report.elements import Picture, Section, Table

STUDY = """
title = "A made-up study"
corpora = ["emodb", "ravdess", "tess", "esd", "custom"]
results = "results"

[parts.classical]
title = "Classical"
kind = "classical"
[[parts.classical.blocks]]
models = ["decision-tree", "k-neighbors", "svc"]
protocols = ["random-25", "speaker-5"]
sizes = [0.1, 1.0]
training_scores = true
[[parts.classical.blocks]]
models = ["decision-tree", "k-neighbors", "svc"]
protocols = ["corpus"]

[parts.baselines]
title = "Baselines"
kind = "baselines"
[[parts.baselines.blocks]]
models = ["speechnet"]
protocols = ["random-25", "speaker-5", "corpus"]
[[parts.baselines.blocks]]
models = ["svc-scaled"]
features = ["classic", "egemaps"]
protocols = ["random-25", "speaker-5", "corpus"]

[parts.networks]
title = "Networks"
kind = "networks"
[[parts.networks.blocks]]
models = ["cnn-1", "cnn-lstm-4"]
protocols = ["random-25", "speaker-5"]
training_scores = true
[[parts.networks.blocks]]
models = ["cnn-1", "cnn-lstm-4"]
protocols = ["corpus"]
parameters = { epochs = 30 }

[parts.optimizers]
title = "Optimisers"
kind = "optimizers"
[[parts.optimizers.blocks]]
models = ["two-branch"]
protocols = ["random-25"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, optimizer = "adamax" }
[[parts.optimizers.blocks]]
models = ["two-branch"]
protocols = ["speaker-5", "corpus"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, optimizer = "adamax", epochs = 10 }

[parts.loso]
title = "One speaker out"
kind = "loso"
[[parts.loso.blocks]]
models = ["decision-tree", "svc"]
protocols = ["loso"]
[[parts.loso.blocks]]
models = ["cnn-1"]
protocols = ["loso"]
parameters = { epochs = 20 }
"""
SKILL = {"decision-tree": 0.2, "k-neighbors": 0.6, "svc": 1.4, "speechnet": 2.5}


def config(text: str = STUDY) -> StudyConfig:
    return StudyConfig.model_validate(tomllib.loads(text))


def begin(study: StudyConfig, table: pd.DataFrame, out: Path) -> None:
    """Begin a study whose file says all that a real one's says."""
    made_up_study.begin(study, table, out)
    path = out / "study.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    for corpus in about["corpora"]:
        rows = table[table["corpus"] == corpus["name"]]
        corpus |= {"speakers": int(rows["speaker"].nunique()), "licence": "CC0-1.0", "synthetic": False}
    about |= {
        "manifest": manifest.fingerprint(table),
        "emotions": {label: int((table["emotion"] == label).sum()) for label in EMOTIONS},
        "dropped": {"calm": 5},
        "mapped": {},
        "unreadable": [{"name": "broken.wav", "code": "unreadable"}],
        "written": "2000-01-01T00:00:00+00:00",
    }
    path.write_text(json.dumps(about), encoding="utf-8")


def by_name(table: Table) -> dict[str, Sequence[str]]:
    """Rows by their first column; of equal names the first."""
    found: dict[str, Sequence[str]] = {}
    for row in table.rows:
        found.setdefault(row[0], row)
    return found


def column(table: Table, name: str, head: str) -> str:
    return by_name(table)[name][list(table.columns).index(head)]


def tables(section: Section) -> list[Table]:
    folded = [element for _, some in section.folded for element in some]
    return [element for element in [*section.content, *folded] if isinstance(element, Table)]


def pictures(section: Section) -> list[Picture]:
    return [element for element in section.content if isinstance(element, Picture)]


def stored(study: StudyResults, title: str, protocol: str) -> tuple[Any, Any, Any]:
    """Truth, prediction and speaker of every test clip, put together by plain loops over the stored cells."""
    truth, predicted, speakers = [], [], []
    known = {one.task.key: one for plan in study.plans for one in plan.cells}
    for key in known:
        if key.model == title and key.protocol == protocol:
            views = study.store.views(key)
            assert views is not None
            for row, probabilities in zip(views[TEST].rows, views[TEST].probabilities, strict=True):
                truth.append(study.known["emotion"].iloc[row])
                speakers.append(study.known["speaker"].iloc[row])
                predicted.append(EMOTIONS[int(np.argmax(probabilities))])
    return np.array(truth), np.array(predicted), np.array(speakers)


def share(value: float) -> str:
    return f"{100 * value:.1f}"


MODELS = {
    "decision-tree": "decision-tree",
    "svc": "svc",
    "svc-scaled": "svc-scaled(features=classic)",
    "speechnet": "speechnet",
    "cnn-lstm-4": "cnn-lstm-4",
    "two-branch (adamax)": "two-branch(early_stopping=True,optimizer=adamax,reduce_lr=True,held_out=True)",
}


def title_of(name: str, protocol: str) -> str:
    """Give the title under which a model of the first table is stored."""
    title = MODELS.get(name, name)
    if name.startswith("cnn") and protocol == "corpus":
        return f"{title}(epochs=30)"
    return title if protocol == "random-25" else title.replace("=True,optimizer", "=True,epochs=10,optimizer")


def whole(out: Path) -> StudyResults:
    """Make a study that is finished, and in which three clips are the same recording."""
    begin(config(), made_up_study.made_up_table(), out)
    (out / copies.FILE).write_text(json.dumps({"groups": [{"rows": [0, 3, 200]}]}), encoding="utf-8")
    return made_up_study.fill(config(), out, skill=SKILL)
