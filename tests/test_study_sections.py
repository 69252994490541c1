"""Sections of a study's report: every figure is held against a plain recomputation from the cells."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import reported_study
from reported_study import Folds, elements, pictures, row_of, share, tables, words
from scipy.optimize import minimize_scalar
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

from emovox.emotions import EMOTIONS
from emovox.evaluation.cells import Predictions
from emovox.evaluation.conditions import CONDITIONS
from emovox.studies.reading import StudyResults
from emovox.studies.report import sections
from emovox.studies.report.elements import Section, Table
from emovox.studies.report.pictures.curves import Curves, learning_curves

pytestmark = pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")

SECTIONS: Sequence[str] = (*sections.BUILDERS, "significance", "groups")
"""Sections of results, which are empty where there are none."""

UNSEEN = "two-branch(early_stopping=True,epochs=10,optimizer=adam,reduce_lr=True,held_out=True)"
KNOWN = "two-branch(early_stopping=True,optimizer={},reduce_lr=True,held_out=True)"
ON_UNSEEN_SPEAKERS = {
    **{name: name for name in ("speechnet", "random-forest", "svc", "decision-tree", "cnn-1", "cnn-lstm-4")},
    "svc-scaled": "svc-scaled(features=classic)",
    "svc-scaled, egemaps": "svc-scaled(features=egemaps)",
    "two-branch, 10 epochs, adam": UNSEEN,
    "two-branch, 10 epochs, adamax": UNSEEN.replace("adam", "adamax"),
}
"""Titles of the models that are tested on unseen speakers, by their names for people."""


def test_optimisers_on_known_voices(whole_study: StudyResults, whole_report: Mapping[str, Section]) -> None:
    table = tables(whole_report["optimizers"])[0]
    assert [text for _, text in table.groups] == [
        "Plain, 100 epochs",
        "Early stopping and learning rate reduction, at most 100 epochs",
    ]
    assert [row[0] for row in table.rows] == ["adam", "adamax"] * 2
    for group, (model, published) in enumerate(
        [("two-branch(optimizer={},held_out=True)", ("94.79", "96.12")), (KNOWN, ("95.74", "96.48"))]
    ):
        for optimizer, figure in zip(("adam", "adamax"), published, strict=True):
            rows, predicted = Folds(whole_study, model.format(optimizer), "random-25").view()
            row = row_of(table, optimizer, number=group)
            assert row["accuracy %"] == share(accuracy_score(rows["emotion"], predicted))
            assert row["UAR %"].startswith(share(balanced_accuracy_score(rows["emotion"], predicted)) + " [")
            assert row["published %"] == figure
            assert row["epochs run"] == ("60" if group else "100")
    assert row_of(table, "adam", number=1)["published epochs"] == "46"
    assert len(table.strong) == 2


def test_optimisers_on_unseen_people_say_how_few_epochs(
    whole_study: StudyResults, whole_report: Mapping[str, Section]
) -> None:
    table = tables(whole_report["optimizers"])[1]
    assert "at most 10 epochs on unseen speakers" in table.title
    assert "at most 10 epochs on unseen corpora" in table.title
    assert all("at most 10 epochs" in text for _, text in table.groups)
    for group, protocol in enumerate(("speaker-5", "corpus")):
        rows, predicted = Folds(whole_study, UNSEEN, protocol).view()
        row = row_of(table, "adam", number=group)
        assert row["UAR %"].startswith(share(balanced_accuracy_score(rows["emotion"], predicted)) + " [")
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


def test_validation_study(whole_study: StudyResults, whole_report: Mapping[str, Section]) -> None:
    folds = Folds(whole_study, KNOWN.format("adamax"), "random-20")
    accuracies, report = tables(whole_report["validation"])
    for view, published in (("validation", "95.41"), ("test", "95.52")):
        rows, predicted = folds.view(view)
        row = row_of(accuracies, f"two-branch, adamax: {view}")
        assert row["clips"] == f"{len(rows):,}"
        assert row["accuracy %"].startswith(share(accuracy_score(rows["emotion"], predicted)) + " [")
        assert row["published accuracy %"] == published
    rows, predicted = folds.view()
    assert not set(folds.view("validation")[0].index) & set(rows.index)
    assert len(folds.view("validation")[0]) == pytest.approx(0.16 * len(whole_study.table), abs=2)
    labels = list(EMOTIONS)
    by_class = precision_recall_fscore_support(rows["emotion"], predicted, labels=labels, zero_division=0)
    for number, label in enumerate(labels):
        expected = [f"{by_class[0][number]:.3f}", f"{by_class[1][number]:.3f}", f"{by_class[2][number]:.3f}"]
        assert list(row_of(report, label).values())[1:4] == expected
        assert row_of(report, label)["support"] == str(by_class[3][number])
    for average in ("macro", "weighted"):
        found = precision_recall_fscore_support(rows["emotion"], predicted, average=average, zero_division=0)
        assert list(row_of(report, f"{average} average").values())[1:4] == [f"{value:.3f}" for value in found[:3]]
    letters = re.findall(r"<text[^>]*>([^<]*)</text>", pictures(whole_report["validation"])[0].svg)
    matrix = confusion_matrix(rows["emotion"], predicted, labels=labels)
    fields = [text for text in letters if re.fullmatch(r"[\d.]+", text)]
    assert fields[: matrix.size] == [str(count) for count in matrix.ravel()]
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    assert fields[matrix.size :] == [f"{100 * share:.1f}" for share in shares.ravel()]


def test_corpus_by_corpus(whole_study: StudyResults, whole_report: Mapping[str, Section]) -> None:
    (table,) = tables(whole_report["corpora"])
    unseen = KNOWN.format("adamax").replace("optimizer", "epochs=10,optimizer")
    for corpus, classes in (("emodb", "6"), ("ravdess", "7")):
        for group, (model, protocol) in enumerate([(KNOWN.format("adamax"), "random-25"), (unseen, "speaker-5")]):
            rows, predicted = Folds(whole_study, model, f"{protocol}-in-{corpus}").view()
            assert set(rows["corpus"]) == {corpus}
            row = row_of(table, corpus, number=group)
            assert row["UAR %"].startswith(share(balanced_accuracy_score(rows["emotion"], predicted)) + " [")
            assert row["classes"] == classes
    assert row_of(table, "emodb")["published accuracy %"] == "89.29"
    assert row_of(table, "tess")["UAR %"].endswith("c")  # two speakers: over clips
    assert row_of(table, "esd")["clips"] == "not at hand"
    assert "ESD and CUSTOM are absent" in words(whole_report["corpora"])
    assert "2 folds, for want of speakers" in words(whole_report["corpora"])


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
    whole_study: StudyResults, whole_report: Mapping[str, Section], model: str
) -> None:
    folds = Folds(whole_study, f"{model}(held_out=True)", "speaker-5")
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
    row = row_of(tables(whole_report["calibration"])[0], model)
    spread = [f"{end:.2f}" for end in (np.mean(temperatures), min(temperatures), max(temperatures))]
    assert row["temperature"] == "{} ({}–{})".format(*spread)
    shown_ece = [float(text) for text in row["ECE"].split(" → ")]
    assert shown_ece == pytest.approx([plain_ece(right, one.max(axis=1)) for one in (first, last)], abs=6e-4)
    wanted = np.eye(7)[[EMOTIONS.index(label) for label in truths]]
    shown_brier = [float(text) for text in row["Brier score"].split(" → ")]
    assert shown_brier == pytest.approx([((one - wanted) ** 2).sum(axis=1).mean() for one in (first, last)], abs=6e-4)
    assert row["accuracy %"] == share(right.mean())
    assert row["confidence %"] == share(first.max(axis=1).mean())


def test_the_clean_figure_is_that_of_the_clips_that_are_disturbed(
    whole_study: StudyResults, whole_report: Mapping[str, Section]
) -> None:
    table, changes, _ = tables(whole_report["robustness"])
    assert len(table.rows) == 1 + len(CONDITIONS)
    for column, model in enumerate(("random-forest", "speechnet"), start=1):
        folds = Folds(whole_study, model, "speaker-5")
        everything, predicted_all = folds.view()
        for place, name in enumerate(CONDITIONS):
            rows, predicted = folds.view(name)
            assert len(rows) < len(everything)
            sampled = everything.index.isin(rows.index)
            clean = balanced_accuracy_score(rows["emotion"], predicted_all[sampled])
            disturbed = balanced_accuracy_score(rows["emotion"], predicted)
            assert table.rows[0][column].startswith(f"{share(clean)} [")
            text = table.rows[1 + place][column].replace("−", "-")
            assert text.startswith(f"{share(disturbed)} [")
            assert float(text.split()[-1]) == pytest.approx(100 * (disturbed - clean), abs=0.051)
            change = [float(one) for one in re.findall(r"[-+]?\d+\.\d", changes.rows[place][column].replace("−", "-"))]
            assert change[0] == pytest.approx(100 * (disturbed - clean), abs=0.051)
            assert change[1] <= change[0] <= change[2]
    assert share(balanced_accuracy_score(everything["emotion"], predicted_all)) not in table.rows[0][2]


def test_differences_are_between_models_on_the_same_clips(
    whole_study: StudyResults, whole_report: Mapping[str, Section]
) -> None:
    table, without, pairs = tables(whole_report["significance"])
    uar = {}
    for name, title in ON_UNSEEN_SPEAKERS.items():
        rows, predicted = Folds(whole_study, title, "speaker-5").view()
        uar[name] = balanced_accuracy_score(rows["emotion"], predicted)
    assert [row[0] for row in table.rows] == sorted(uar, key=lambda name: -uar[name])
    reference = max((name for name in uar if not name.startswith(("speechnet", "svc-"))), key=lambda name: uar[name])
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
    assert len(pairs.rows) == 3
    assert "without tess" in " ".join(pairs.columns)
    rows, predicted = Folds(whole_study, "svc", "speaker-5").view()
    kept = (rows["corpus"] != "tess").to_numpy()
    expected = share(balanced_accuracy_score(rows["emotion"][kept], predicted[kept]))
    assert row_of(without, "svc")["UAR %"].startswith(expected + " [")


def test_groups(whole_study: StudyResults, whole_report: Mapping[str, Section]) -> None:
    table, speakers = tables(whole_report["groups"])
    assert table.columns[3] == "speechnet"
    assert table.columns[5].startswith("svc-scaled")
    for model in table.columns[3:]:
        rows, predicted = Folds(whole_study, ON_UNSEEN_SPEAKERS[model], "speaker-5").view()
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
            expected = share(balanced_accuracy_score(rows["emotion"][kept], predicted[kept]))
            row = row_of(table, name)
            assert row[model].startswith(expected + " [")
            assert row["clips"] == f"{kept.sum():,}"
            assert row["speakers"] == str(rows["speaker"][kept].nunique())
    assert "unknown" not in [row[0] for row in table.rows]
    assert len(speakers.rows) == 24


def check(section: Section) -> None:
    """What holds for every section, whatever was computed."""
    for one in elements(section):
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


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_is_whole_and_names_its_protocol(name: str, whole_report: Mapping[str, Section]) -> None:
    section = whole_report[name]
    check(section)
    text = words(section)
    assert "classes" in text
    assert "speakers" in text
    assert "seed 7" in text
    assert "Not computed yet" not in text


def test_what_is_not_computed_yet_is_said(partial_report: Mapping[str, Section]) -> None:
    for name, section in partial_report.items():
        check(section)
        missing = name in sections.BUILDERS and name != "baselines"
        assert ("Not computed yet: " in words(section)) == missing, name


def test_what_is_there_in_part_is_marked(partial_report: Mapping[str, Section]) -> None:
    calibration = tables(partial_report["calibration"])[0]
    assert [row[0] for row in calibration.rows] == ["random-forest (2 of 5 folds)", "speechnet"]
    assert "Not computed yet: 3 of 10 cells." in words(partial_report["calibration"])
    assert "random-forest (2 of 5 folds)" in tables(partial_report["robustness"])[0].columns
    corpora = tables(partial_report["corpora"])[0]
    assert row_of(corpora, "tess", number=1)["clips"] == "failed: the training diverged"
    assert "Failed: 2 of 15 cells" in words(partial_report["corpora"])


def test_models_are_compared_on_all_folds_only(partial_report: Mapping[str, Section]) -> None:
    whole = {name for name in ON_UNSEEN_SPEAKERS if name.startswith(("speechnet", "svc", "decision-tree"))}
    assert {row[0] for row in tables(partial_report["significance"])[0].rows} == whole
    assert set(tables(partial_report["groups"])[0].columns[3:]) < whole


def test_a_study_without_the_part_says_so(tmp_path: Path) -> None:
    other = reported_study.nothing(tmp_path, "loso")
    for build in (*sections.BUILDERS.values(), sections.significance.section, sections.groups.section):
        if build is not sections.BUILDERS["loso"]:
            assert build(other).content == ()
            assert build(other).finding == "The study has no such part."
