"""Sections of a study's report: every figure is held against a plain recomputation from the cells."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from made_up_study import begin, fill, made_up_table
from scipy.optimize import minimize_scalar
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

from emovox.emotions import EMOTIONS
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import Predictions
from emovox.evaluation.conditions import CONDITIONS
from emovox.evaluation.planning import Planned
from emovox.studies.config import StudyConfig
from emovox.studies.reading import StudyResults
from emovox.studies.report import (
    calibration,
    corpora,
    groups,
    optimizers,
    robustness,
    significance,
    validation,
)
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.pictures_curves import Curves, learning_curves

pytestmark = pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")

SECTIONS: Sequence[ModuleType] = (optimizers, validation, corpora, calibration, robustness, significance, groups)

STUDY = """
title = "Made up"
corpora = ["emodb", "ravdess", "tess", "esd", "custom"]
labels = "seven"

[parts.classical]
title = "Classical"
kind = "classical"
[[parts.classical.blocks]]
models = ["random-forest", "svc", "decision-tree"]
protocols = ["random-25", "speaker-5"]
sizes = [0.1, 1.0]

[parts.baselines]
title = "Baselines"
kind = "baselines"
[[parts.baselines.blocks]]
models = ["speechnet", "svc-scaled"]
protocols = ["speaker-5"]

[parts.optimizers]
title = "Optimisers"
kind = "optimizers"
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
optimizer = ["adam"]

[parts.validation]
title = "Validation"
kind = "validation"
[[parts.validation.blocks]]
models = ["two-branch"]
protocols = ["random-20"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, optimizer = "adamax" }

[parts.corpora]
title = "Corpora"
kind = "corpora"
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

[parts.calibration]
title = "Calibration"
kind = "calibration"
[[parts.calibration.blocks]]
models = ["random-forest", "speechnet"]
protocols = ["speaker-5"]
held_out = true

[parts.robustness]
title = "Robustness"
kind = "robustness"
[[parts.robustness.blocks]]
models = ["random-forest", "speechnet"]
protocols = ["speaker-5"]
conditions = ["all"]
"""
SKILL = {"speechnet": 3.0, "svc-scaled": 1.6, "random-forest": 1.5, "svc": 0.2, "decision-tree": 1.4}


def read(text: str = STUDY) -> StudyConfig:
    return StudyConfig.model_validate(tomllib.loads(text))


def make(
    folder: Path,
    config: StudyConfig,
    *,
    wanted: Callable[[Planned], bool] = lambda _: True,
    failed: Callable[[Planned], bool] = lambda _: False,
) -> StudyResults:
    begin(config, made_up_table(), folder)
    return fill(config, folder, skill=SKILL, wanted=wanted, failed=failed)


def in_tess(one: Planned) -> bool:
    return one.task.key.protocol == "speaker-5-in-tess"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """All cells but those within TESS on unseen speakers, which failed."""
    return make(tmp_path_factory.mktemp("study"), read(), failed=in_tess)


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """Only the first fold of everything."""
    return make(tmp_path_factory.mktemp("partial"), read(), wanted=lambda one: one.task.key.fold == 0)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """No cell."""
    return make(tmp_path_factory.mktemp("nothing"), read(), wanted=lambda _: False)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study without the parts that the sections are about."""
    text = STUDY[: STUDY.index("[parts.classical]")] + STUDY[STUDY.index("[parts.robustness]") :]
    text = text.replace('kind = "robustness"', 'kind = "loso"').replace('conditions = ["all"]', "")
    return make(tmp_path_factory.mktemp("other"), read(text), wanted=lambda _: False)


@pytest.fixture(scope="module")
def shown(study: StudyResults) -> Mapping[str, Section]:
    return {module.__name__.rpartition(".")[2]: module.section(study) for module in SECTIONS}


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


def tables(section: Section) -> list[Table]:
    return [one for one in section.content if isinstance(one, Table)]


def pictures(section: Section) -> list[Picture]:
    folded = [one for _, content in section.folded for one in content]
    return [one for one in [*section.content, *folded] if isinstance(one, Picture)]


def row_of(table: Table, name: str, *, group: int = 0) -> dict[str, str]:
    """Give the row of a name as column -> text; with groups, the n-th row of that name."""
    rows = [row for row in table.rows if row[0] == name]
    return dict(zip(table.columns, rows[group], strict=True))


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def words(section: Section) -> str:
    folded = [one for _, content in section.folded for one in content]
    notes = [note for one in [*section.content, *folded] if isinstance(one, Table) for note in [one.title, *one.notes]]
    return " ".join([section.title, section.finding, *section.paragraphs, *notes])


UNSEEN = "two-branch(early_stopping=True,epochs=10,optimizer=adam,reduce_lr=True,held_out=True)"
KNOWN = "two-branch(early_stopping=True,optimizer={},reduce_lr=True,held_out=True)"


def test_optimisers_on_known_voices(study: StudyResults, shown: Mapping[str, Section]) -> None:
    table = tables(shown["optimizers"])[0]
    assert [text for _, text in table.groups] == [
        "Plain, 100 epochs",
        "Early stopping and learning rate reduction, at most 100 epochs",
    ]
    assert [row[0] for row in table.rows] == ["adam", "adamax"] * 2
    for group, (model, published) in enumerate(
        [("two-branch(optimizer={},held_out=True)", ("94.79", "96.12")), (KNOWN, ("95.74", "96.48"))]
    ):
        for optimizer, figure in zip(("adam", "adamax"), published, strict=True):
            rows, predicted = Folds(study, model.format(optimizer), "random-25").view()
            row = row_of(table, optimizer, group=group)
            assert row["accuracy %"] == percent(accuracy_score(rows["emotion"], predicted))
            assert row["UAR %"].startswith(percent(balanced_accuracy_score(rows["emotion"], predicted)) + " [")
            assert row["published %"] == figure
            assert row["epochs run"] == ("60" if group else "100")
    assert row_of(table, "adam", group=1)["published epochs"] == "46"
    assert len(table.strong) == 2


def test_optimisers_on_unseen_people_say_how_few_epochs(study: StudyResults, shown: Mapping[str, Section]) -> None:
    table = tables(shown["optimizers"])[1]
    assert "at most 10 epochs on unseen speakers" in table.title
    assert "at most 10 epochs on unseen corpora" in table.title
    assert all("at most 10 epochs" in text for _, text in table.groups)
    for group, protocol in enumerate(("speaker-5", "corpus")):
        rows, predicted = Folds(study, UNSEEN, protocol).view()
        row = row_of(table, "adam", group=group)
        assert row["UAR %"].startswith(percent(balanced_accuracy_score(rows["emotion"], predicted)) + " [")
        assert row["epochs run"] == "6"
    assert "published" not in " ".join(table.columns)


def test_learning_curves_show_every_training() -> None:
    plain = Curves(loss=[2.0, 1.0, 0.5], accuracy=[0.3, 0.5, 0.9])
    stopped = Curves(loss=[2.0, 1.0], accuracy=[0.3, 0.5], val_loss=[2.1, 2.2], val_accuracy=[0.2, 0.3], best_epoch=1)
    svg = learning_curves({"adam": {"plain": plain, "stopped": stopped}, "sgd": {"stopped": stopped}}, "loss")
    lines = re.findall(r'<path d="([^"]*)"[^>]*style="[^"]*stroke: var\(--series-(\d)\)', svg)
    # One dotted line of the plain one, and two lines of each of the others; rings are drawn apart.
    assert sorted(number for _, number in lines if number == "1") == ["1"]
    assert sum(1 for path, number in lines if number == "2" and path.count("L") == 1) == 4
    assert "adam" in svg
    assert "sgd" in svg


def test_validation_study(study: StudyResults, shown: Mapping[str, Section]) -> None:
    folds = Folds(study, KNOWN.format("adamax"), "random-20")
    accuracies, report = tables(shown["validation"])
    for view, published in (("validation", "95.41"), ("test", "95.52")):
        rows, predicted = folds.view(view)
        row = row_of(accuracies, f"two-branch, adamax: {view}")
        assert row["clips"] == f"{len(rows):,}"
        assert row["accuracy %"].startswith(percent(accuracy_score(rows["emotion"], predicted)) + " [")
        assert row["published accuracy %"] == published
    rows, predicted = folds.view()
    assert not set(folds.view("validation")[0].index) & set(rows.index)
    assert len(folds.view("validation")[0]) == pytest.approx(0.16 * len(study.table), abs=2)
    labels = list(EMOTIONS)
    by_class = precision_recall_fscore_support(rows["emotion"], predicted, labels=labels, zero_division=0)
    for number, label in enumerate(labels):
        expected = [f"{by_class[0][number]:.3f}", f"{by_class[1][number]:.3f}", f"{by_class[2][number]:.3f}"]
        assert list(row_of(report, label).values())[1:4] == expected
        assert row_of(report, label)["support"] == str(by_class[3][number])
    for average in ("macro", "weighted"):
        found = precision_recall_fscore_support(rows["emotion"], predicted, average=average, zero_division=0)
        assert list(row_of(report, f"{average} average").values())[1:4] == [f"{value:.3f}" for value in found[:3]]
    letters = re.findall(r"<text[^>]*>([^<]*)</text>", pictures(shown["validation"])[0].svg)
    matrix = confusion_matrix(rows["emotion"], predicted, labels=labels)
    fields = [text for text in letters if re.fullmatch(r"[\d.]+", text)]
    assert fields[: matrix.size] == [str(count) for count in matrix.ravel()]
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    assert fields[matrix.size :] == [f"{100 * share:.1f}" for share in shares.ravel()]


def test_corpus_by_corpus(study: StudyResults, shown: Mapping[str, Section]) -> None:
    (table,) = tables(shown["corpora"])
    unseen = KNOWN.format("adamax").replace("optimizer", "epochs=10,optimizer")
    for corpus, classes in (("emodb", "6"), ("ravdess", "7")):
        for group, (model, protocol) in enumerate([(KNOWN.format("adamax"), "random-25"), (unseen, "speaker-5")]):
            rows, predicted = Folds(study, model, f"{protocol}-in-{corpus}").view()
            assert set(rows["corpus"]) == {corpus}
            row = row_of(table, corpus, group=group)
            assert row["UAR %"].startswith(percent(balanced_accuracy_score(rows["emotion"], predicted)) + " [")
            assert row["classes"] == classes
    assert row_of(table, "emodb")["published accuracy %"] == "89.29"
    assert row_of(table, "tess")["UAR %"].endswith("c")  # two speakers: over clips
    assert row_of(table, "tess", group=1)["clips"] == "failed: the training diverged"
    assert row_of(table, "esd")["clips"] == "not at hand"
    assert "ESD and CUSTOM are absent" in words(shown["corpora"])
    assert "2 folds, for want of speakers" in words(shown["corpora"])
    assert "Failed: 2 of 15 cells" in words(shown["corpora"])


def scaled(probabilities: npt.NDArray[Any], temperature: float) -> npt.NDArray[np.float64]:
    raised = np.clip(probabilities, 1e-4, None) ** (1 / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


def plain_ece(right: npt.NDArray[np.bool_], confidence: npt.NDArray[Any]) -> float:
    edges = np.linspace(0, 1, 16)
    inside = [(confidence > low) & (confidence <= high) for low, high in itertools.pairwise(edges)]
    gaps = [abs(right[one].mean() - confidence[one].mean()) * one.mean() for one in inside if one.any()]
    return float(sum(gaps))


@pytest.mark.parametrize("model", ["random-forest", "speechnet"])
def test_temperatures_come_from_the_validation_speakers_of_the_fold(
    study: StudyResults, shown: Mapping[str, Section], model: str
) -> None:
    folds = Folds(study, f"{model}(held_out=True)", "speaker-5")
    temperatures, truth, before, after = [], [], [], []
    for views in folds.views:
        held, test = (folds.rows.iloc[views[name].rows] for name in ("validation", "test"))
        assert not set(held["speaker"]) & set(test["speaker"])

        def loss(temperature: float, held: pd.DataFrame = held, given: Predictions = views["validation"]) -> float:
            return float(log_loss(held["emotion"], scaled(given.probabilities, temperature), labels=list(EMOTIONS)))

        found = minimize_scalar(loss, bounds=(0.5, 10), method="bounded")
        temperatures.append(found.x)
        truth.append(test["emotion"].to_numpy(dtype=str))
        before.append(views["test"].probabilities)
        after.append(scaled(views["test"].probabilities, found.x))
    truths, first, last = np.concatenate(truth), np.concatenate(before), np.concatenate(after)
    right = np.array(EMOTIONS)[first.argmax(axis=1)] == truths
    row = row_of(tables(shown["calibration"])[0], model)
    spread = [f"{end:.2f}" for end in (np.mean(temperatures), min(temperatures), max(temperatures))]
    assert row["temperature"] == "{} ({}–{})".format(*spread)
    shown_ece = [float(text) for text in row["ECE"].split(" → ")]
    assert shown_ece == pytest.approx([plain_ece(right, one.max(axis=1)) for one in (first, last)], abs=6e-4)
    wanted = np.eye(7)[[EMOTIONS.index(label) for label in truths]]
    shown_brier = [float(text) for text in row["Brier score"].split(" → ")]
    assert shown_brier == pytest.approx([((one - wanted) ** 2).sum(axis=1).mean() for one in (first, last)], abs=6e-4)
    assert row["accuracy %"] == percent(right.mean())
    assert row["confidence %"] == percent(first.max(axis=1).mean())


def test_the_clean_figure_is_that_of_the_clips_that_are_disturbed(
    study: StudyResults, shown: Mapping[str, Section]
) -> None:
    (table,) = tables(shown["robustness"])
    assert len(table.rows) == 1 + len(CONDITIONS)
    changes = shown["robustness"].folded[0][1][0]
    assert isinstance(changes, Table)
    for column, model in enumerate(("random-forest", "speechnet"), start=1):
        folds = Folds(study, model, "speaker-5")
        everything, predicted_all = folds.view()
        for place, name in enumerate(CONDITIONS):
            rows, predicted = folds.view(name)
            assert len(rows) < len(everything)
            sampled = everything.index.isin(rows.index)
            clean = balanced_accuracy_score(rows["emotion"], predicted_all[sampled])
            disturbed = balanced_accuracy_score(rows["emotion"], predicted)
            assert table.rows[0][column].startswith(f"{percent(clean)} [")
            text = table.rows[1 + place][column].replace("−", "-")
            assert text.startswith(f"{percent(disturbed)} [")
            assert float(text.split()[-1]) == pytest.approx(100 * (disturbed - clean), abs=0.051)
            change = [float(one) for one in re.findall(r"[-+]?\d+\.\d", changes.rows[place][column].replace("−", "-"))]
            assert change[0] == pytest.approx(100 * (disturbed - clean), abs=0.051)
            assert change[1] <= change[0] <= change[2]
    assert percent(balanced_accuracy_score(everything["emotion"], predicted_all)) not in table.rows[0][2]


def test_differences_are_between_models_on_the_same_clips(study: StudyResults, shown: Mapping[str, Section]) -> None:
    section = shown["significance"]
    (table,) = tables(section)
    uar = {}
    for model in ("speechnet", "svc-scaled", "random-forest", "svc", "decision-tree", UNSEEN):
        rows, predicted = Folds(study, model, "speaker-5").view()
        uar[model if model != UNSEEN else "two-branch, 10 epochs, adam"] = balanced_accuracy_score(
            rows["emotion"], predicted
        )
    assert [row[0] for row in table.rows] == sorted(uar, key=lambda name: -uar[name])
    reference = max((name for name in uar if name not in ("speechnet", "svc-scaled")), key=lambda name: uar[name])
    for against in (reference, "speechnet"):
        for name, value in uar.items():
            row = row_of(table, name)
            text = row[f"less {against}, points"].replace("−", "-")
            if name == against:
                assert text == "–"
            else:
                assert float(text.split()[0]) == pytest.approx(100 * (value - uar[against]), abs=0.051)
    texts = [text for row in table.rows for text in row[2:]]
    for difference, p in zip(texts[::2], texts[1::2], strict=True):
        assert difference.endswith("*") == (p == "< 0.001" or (p != "–" and float(p) <= 0.05))
    assert row_of(table, "svc")["less speechnet, points"].endswith("*")
    assert "svc(size=0.1)" not in [row[0] for row in table.rows]
    without, pairs = (content[0] for _, content in section.folded)
    assert isinstance(pairs, Table)
    assert isinstance(without, Table)
    assert len(pairs.rows) == 3
    assert "without tess" in " ".join(pairs.columns)
    rows, predicted = Folds(study, "svc", "speaker-5").view()
    kept = (rows["corpus"] != "tess").to_numpy()
    expected = percent(balanced_accuracy_score(rows["emotion"][kept], predicted[kept]))
    assert row_of(without, "svc")["UAR %"].startswith(expected + " [")


def test_groups(study: StudyResults, shown: Mapping[str, Section]) -> None:
    (table,) = tables(shown["groups"])
    assert table.columns[3] == "speechnet"
    assert table.columns[5] == "svc-scaled"
    for model in table.columns[3:]:
        title = UNSEEN if model.startswith("two-branch") else model
        rows, predicted = Folds(study, title, "speaker-5").view()
        choices = {
            "female": rows["gender"] == "female",
            "tess": rows["corpus"] == "tess",
            "de †": rows["language"] == "de",
            "ravdess, male": (rows["corpus"] == "ravdess") & (rows["gender"] == "male"),
            "strong †": rows["intensity"] == "strong",
            "normal †": (rows["intensity"] == "normal") & (rows["emotion"] != "neutral"),
        }
        for name, chosen in choices.items():
            kept = chosen.to_numpy()
            expected = percent(balanced_accuracy_score(rows["emotion"][kept], predicted[kept]))
            row = row_of(table, name)
            assert row[model].startswith(expected + " [")
            assert row["clips"] == f"{kept.sum():,}"
            assert row["speakers"] == str(rows["speaker"][kept].nunique())
    assert "unknown" not in [row[0] for row in table.rows]
    (speakers,) = (content[0] for _, content in shown["groups"].folded)
    assert isinstance(speakers, Table)
    assert len(speakers.rows) == 24


def check(section: Section) -> None:
    """What holds for every section, whatever was computed."""
    folded = [one for _, content in section.folded for one in content]
    for one in [*section.content, *folded]:
        if isinstance(one, Table):
            assert one.rows
            assert {len(row) for row in one.rows} == {len(one.columns)}
            assert all(0 <= place < len(one.rows) for place in [*one.strong, *(place for place, _ in one.groups)])
        else:
            ElementTree.fromstring(one.svg)
            colors = set(re.findall(r"#[0-9a-fA-F]{6}\b", one.svg)) - {"#000000", "#ffffff"}
            assert not colors, f"colours that are not the page's: {colors}"
            assert "var(--ink)" in one.svg
            used = {int(number) for number in re.findall(r"var\(--series-(\d)\)", one.svg)}
            assert not one.legend or used == set(range(1, len(one.legend) + 1))
    assert "nan" not in words(section).lower().split()


@pytest.mark.parametrize("module", SECTIONS)
def test_every_section_is_whole_and_names_its_protocol(module: ModuleType, shown: Mapping[str, Section]) -> None:
    section = shown[module.__name__.rpartition(".")[2]]
    check(section)
    text = words(section)
    assert "classes" in text
    assert "speakers" in text
    assert "seed 7" in text
    assert "Not computed yet" not in text


@pytest.mark.parametrize("module", SECTIONS)
def test_what_is_not_computed_yet_is_said(module: ModuleType, partial: StudyResults) -> None:
    section = module.section(partial)
    check(section)
    assert "Not computed yet: " in words(section) or module is validation
    if module in (significance, groups):
        assert not section.content  # models are compared on all folds only


def test_a_partly_computed_model_is_marked(tmp_path: Path) -> None:
    text = (
        STUDY[: STUDY.index("[parts.classical]")] + STUDY[STUDY.index("[parts.baselines]") : STUDY.index("[parts.opt")]
    )
    text += STUDY[STUDY.index("[parts.calibration]") :]
    partial = make(tmp_path, read(text), wanted=lambda one: one.task.key.fold < 2 or one.task.model != "random-forest")
    names = [row[0] for row in tables(calibration.section(partial))[0].rows]
    assert names == ["random-forest (2 of 5 folds)", "speechnet"]
    assert "random-forest (2 of 5 folds)" in tables(robustness.section(partial))[0].columns
    assert "Not computed yet: 3 of 10 cells." in words(calibration.section(partial))
    assert "random-forest" not in [row[0] for row in tables(significance.section(partial))[0].rows]


@pytest.mark.parametrize("module", SECTIONS)
def test_nothing_computed_gives_no_figure(module: ModuleType, nothing: StudyResults) -> None:
    section = module.section(nothing)
    assert section.content == ()
    assert section.finding.startswith("No result yet. Not computed yet: ")


@pytest.mark.parametrize("module", SECTIONS)
def test_a_study_without_the_part_says_so(module: ModuleType, other: StudyResults) -> None:
    section = module.section(other)
    assert section.content == ()
    assert section.finding == "The study has no such part."
