"""A study of every kind of part, with made-up cells, for what the report makes of it; and how tests look at it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import made_up_study
import numpy as np
import numpy.typing as npt
import pandas as pd

from emovox.emotions import EMOTIONS
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import Predictions
from emovox.evaluation.planning import Planned
from emovox.studies import copies
from emovox.studies.config import StudyConfig
from emovox.studies.reading import StudyResults, read_study
from emovox.studies.report.elements import Picture, Section, Table

HEAD = """
title = "A made-up study"
corpora = ["emodb", "ravdess", "tess", "esd", "custom"]
labels = "seven"
results = "results"
remarks = ["Recorded in a lift."]
"""
PARTS = {
    "classical": """
[[parts.classical.blocks]]
models = ["decision-tree", "random-forest", "svc"]
protocols = ["random-25", "speaker-5"]
sizes = [0.1, 1.0]
training_scores = true
[[parts.classical.blocks]]
models = ["decision-tree", "random-forest", "svc"]
protocols = ["corpus"]
""",
    "baselines": """
[[parts.baselines.blocks]]
models = ["speechnet"]
protocols = ["random-25", "speaker-5", "corpus"]
[[parts.baselines.blocks]]
models = ["svc-scaled"]
features = ["classic", "egemaps"]
protocols = ["random-25", "speaker-5", "corpus"]
""",
    "networks": """
[[parts.networks.blocks]]
models = ["cnn-1", "cnn-lstm-4"]
protocols = ["random-25", "speaker-5"]
training_scores = true
[[parts.networks.blocks]]
models = ["cnn-1", "cnn-lstm-4"]
protocols = ["corpus"]
parameters = { epochs = 30 }
""",
    "optimizers": """
[[parts.optimizers.blocks]]
models = ["two-branch"]
protocols = ["random-25"]
held_out = true
[parts.optimizers.blocks.grid]
optimizer = ["adamax", "adam"]
[[parts.optimizers.blocks]]
models = ["two-branch"]
protocols = ["random-25"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true }
[parts.optimizers.blocks.grid]
optimizer = ["adamax", "adam"]
[[parts.optimizers.blocks]]
models = ["two-branch"]
protocols = ["speaker-5", "corpus"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, epochs = 10 }
[parts.optimizers.blocks.grid]
optimizer = ["adamax", "adam"]
""",
    "validation": """
[[parts.validation.blocks]]
models = ["two-branch"]
protocols = ["random-20"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, optimizer = "adamax" }
""",
    "corpora": """
[[parts.corpora.blocks]]
models = ["two-branch"]
protocols = ["random-25"]
within = ["each"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, optimizer = "adamax" }
[[parts.corpora.blocks]]
models = ["two-branch"]
protocols = ["speaker-5"]
within = ["each"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, optimizer = "adamax", epochs = 10 }
""",
    "loso": """
[[parts.loso.blocks]]
models = ["svc"]
protocols = ["loso"]
[[parts.loso.blocks]]
models = ["cnn-1"]
protocols = ["loso"]
parameters = { epochs = 20 }
""",
    "calibration": """
[[parts.calibration.blocks]]
models = ["random-forest", "speechnet"]
protocols = ["speaker-5"]
held_out = true
""",
    "robustness": """
[[parts.robustness.blocks]]
models = ["random-forest", "speechnet"]
protocols = ["speaker-5"]
conditions = ["all"]
""",
}
SKILL = {"speechnet": 3.0, "svc-scaled": 1.6, "random-forest": 1.5, "svc": 0.2, "decision-tree": 1.4}

MODELS = {
    "decision-tree": "decision-tree",
    "random-forest": "random-forest",
    "svc": "svc",
    "svc-scaled": "svc-scaled(features=classic)",
    "speechnet": "speechnet",
    "cnn-1": "cnn-1",
    "cnn-lstm-4": "cnn-lstm-4",
    "two-branch (adamax)": "two-branch(early_stopping=True,optimizer=adamax,reduce_lr=True,held_out=True)",
}
"""Titles under which models are stored on the random split, by their names in the first table of the report."""


def written(*parts: str) -> str:
    """Give the study's file with some of its parts; with all if none is named."""
    return HEAD + "".join(
        f'\n[parts.{name}]\ntitle = "{name.capitalize()}"\nkind = "{name}"{PARTS[name]}' for name in parts or PARTS
    )


def config(*parts: str) -> StudyConfig:
    return StudyConfig.model_validate(tomllib.loads(written(*parts)))


def whole(out: Path, *parts: str) -> StudyResults:
    """Make a study that is finished, and in which three clips are the same recording."""
    made_up_study.begin(config(*parts), made_up_study.made_up_table(), out)
    (out / copies.FILE).write_text(json.dumps({"groups": [{"rows": [0, 3, 200]}]}), encoding="utf-8")
    return made_up_study.fill(config(*parts), out, skill=SKILL)


def partial(out: Path) -> StudyResults:
    """Make a study of most parts without any CNN, with the first folds only of some models; some folds failed."""

    def wanted(one: Planned) -> bool:
        folds = {"cnn-1": 0, "cnn-lstm-4": 0, "two-branch": 1, "random-forest": 2}
        return one.task.key.fold < folds.get(one.task.model, 99)

    def failed(one: Planned) -> bool:
        return (one.task.model, one.task.key.protocol) in (("svc", "corpus"), ("two-branch", "speaker-5-in-tess"))

    study = config(*(name for name in PARTS if name not in ("loso", "validation")))
    made_up_study.begin(study, made_up_study.made_up_table(), out)
    return made_up_study.fill(study, out, skill=SKILL, wanted=lambda one: wanted(one) or failed(one), failed=failed)


def nothing(out: Path, *parts: str) -> StudyResults:
    """Make a study without any cell."""
    made_up_study.begin(config(*parts), made_up_study.made_up_table(), out)
    return read_study(config(*parts), out)


def tables(section: Section) -> list[Table]:
    """Tables of a section, folded ones last."""
    return [element for element in elements(section) if isinstance(element, Table)]


def pictures(section: Section) -> list[Picture]:
    return [element for element in elements(section) if isinstance(element, Picture)]


def elements(section: Section) -> list[Table | Picture]:
    return [*section.content, *(element for _, some in section.folded for element in some)]


def row_of(table: Table, name: str, *, number: int = 0) -> dict[str, str]:
    """Give the row of a name as column -> text; of several rows of the name the one of this number."""
    rows = [row for row in table.rows if row[0] == name]
    return dict(zip(table.columns, rows[number], strict=True))


def texts_of(table: Table, name: str) -> Sequence[str]:
    """Give the first row of a name; where two columns have one head, `row_of` would lose one."""
    return next(row for row in table.rows if row[0] == name)


def words(section: Section) -> str:
    """Everything that a section says in sentences."""
    notes = [text for table in tables(section) for text in [table.title, *table.notes]]
    return " ".join([section.title, section.finding, *section.paragraphs, *notes])


def share(value: float) -> str:
    return f"{100 * value:.1f}"


class Folds:
    """The cells of one model and protocol, read without the code that is tested."""

    def __init__(self, study: StudyResults, model: str, protocol: str) -> None:
        store = CellStore(study.store.folder)
        cells = [one for one in store.cells() if (one.key.model, one.key.protocol) == (model, protocol)]
        assert cells, f"no cell of {model} under {protocol}"
        self.views: list[Mapping[str, Predictions]] = [views for one in cells if (views := store.views(one.key))]
        self.rows = study.known

    def view(self, name: str = "test") -> tuple[pd.DataFrame, npt.NDArray[np.str_]]:
        """Give rows of the table and predicted labels, sorted by row number."""
        rows = np.concatenate([views[name].rows for views in self.views])
        predicted = np.concatenate([views[name].predicted for views in self.views])
        order = np.argsort(rows)
        return self.rows.iloc[rows[order]], np.array(EMOTIONS)[predicted[order]]


def stored(study: StudyResults, title: str, protocol: str) -> tuple[Any, Any, Any]:
    """Truth, prediction and speaker of every test clip of a model under a protocol."""
    rows, predicted = Folds(study, title, protocol).view()
    return rows["emotion"].to_numpy(dtype=str), predicted, rows["speaker"].to_numpy(dtype=str)


def title_of(name: str, protocol: str) -> str:
    """Give the title under which a model of `MODELS` is stored under a protocol."""
    if name.startswith("cnn") and protocol == "corpus":
        return f"{MODELS[name]}(epochs=30)"
    unseen = MODELS[name].replace("=True,optimizer", "=True,epochs=10,optimizer")
    return MODELS[name] if protocol == "random-25" else unseen
