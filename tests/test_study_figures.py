"""The figures in a study's report: those of the stored predictions, computed again with scikit-learn."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up_study
import numpy as np
import pandas as pd
import pytest
import reported_study
from reported_study import MODELS, Folds, pictures, row_of, share, stored, tables, texts_of, title_of, words
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from emovox import manifest
from emovox.errors import ProtocolError
from emovox.studies import copies
from emovox.studies.reading import StudyResults, read_study
from emovox.studies.report.elements import Section
from emovox.studies.report.front import front
from emovox.studies.report.pictures.bars import Panel, bars
from emovox.studies.report.sections import gap, origin
from emovox.studies.report.sections.origin import mixed_recipes
from emovox.studies.report.settings import OWN_NOTE


@pytest.mark.parametrize(
    ("protocol", "head"),
    [("random-25", "random split %"), ("speaker-5", "unseen speakers %"), ("corpus", "unseen corpora %")],
)
def test_the_gap_is_what_scikit_learn_says_of_the_stored_predictions(
    whole_study: StudyResults, whole_report: Mapping[str, Section], protocol: str, head: str
) -> None:
    table = tables(whole_report["gap"])[0]
    for name in MODELS:
        truth, predicted, _ = stored(whole_study, title_of(name, protocol), protocol)
        assert row_of(table, name)[head].split()[0] == share(balanced_accuracy_score(truth, predicted)), name


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_every_unseen_corpus_stands_by_itself(whole_study: StudyResults, whole_report: Mapping[str, Section]) -> None:
    table = tables(whole_report["gap"])[2]
    for name in MODELS:
        folds = Folds(whole_study, title_of(name, "corpus"), "corpus")
        rows, predicted = folds.view()
        for corpus in ("emodb", "ravdess", "tess"):
            kept = (rows["corpus"] == corpus).to_numpy()
            expected = share(balanced_accuracy_score(rows["emotion"][kept], predicted[kept]))
            assert row_of(table, name)[f"{corpus} %"].startswith(f"{expected} ["), (name, corpus)
            if name == "speechnet":
                assert f"{corpus} {expected} %" in whole_report["gap"].finding
    assert any("emodb without surprise" in note for note in table.notes)


def test_what_was_tuned_on_these_corpora_is_said_wherever_it_is_compared(whole_report: Mapping[str, Section]) -> None:
    said = {name for name, section in whole_report.items() if OWN_NOTE in words(section)}
    assert said == {"gap", "baselines", "significance", "groups"}


def test_numbers_of_bars_stand_off_the_published_mark() -> None:
    def anchors(mark: float) -> str:
        panel = Panel("accuracy", [{"tree": 0.5}, {"tree": 0.84}], {"tree": mark})
        svg = bars(["tree"], [[panel]], ["10 %", "100 %"], color=0, mark="published")
        (style,) = re.findall(r'<text style="([^"]*)"[^>]*>84</text>', svg)
        return str(style)

    assert "text-anchor: end" in anchors(0.88)
    assert "text-anchor: end" not in anchors(0.95)
    assert "text-anchor: end" not in anchors(0.6)


def test_cells_of_several_recipes_are_told(tmp_path: Path) -> None:
    study = reported_study.whole(tmp_path, "classical")
    first, second, *_ = (cell for cell in study.store.cells() if cell.key.model == "svc" and cell.error is None)
    assert mixed_recipes(study) == {}
    for cell, recipe in ((first, "1"), (second, "2")):
        views = study.store.views(cell.key)
        study.store.write(dataclasses.replace(cell, details={**cell.details, "recipe": recipe}), views)
    again = read_study(study.config, tmp_path)
    assert mixed_recipes(again) == {"svc": "1 (1); 2 (1)"}
    assert any("different recipes" in note for note in front(again).warnings)
    assert texts_of(tables(origin.section(again))[1], "recipes of svc")[1] == "1 (1); 2 (1)"


def test_the_classical_table_is_ours_beside_the_published_one(
    whole_study: StudyResults, whole_report: Mapping[str, Section]
) -> None:
    table = tables(whole_report["classical"])[0]
    truth, predicted, _ = stored(whole_study, "svc", "random-25")
    row = texts_of(table, "svc")
    assert row[-2:] == [f"{100 * accuracy_score(truth, predicted):.2f}", "62.87"]
    assert row[-4:-2] == [f"{f1_score(truth, predicted, average='weighted'):.2f}", "0.62"]
    assert row[2:7] == ["401.04", "0.97", "0.62", "98.00", "63.19"]
    assert row_of(table, "svc")["test s"] == "0.10"
    other = tables(whole_report["classical"])[1]
    truth, predicted, _ = stored(whole_study, "svc", "speaker-5")
    index = list(other.columns).index("speakers: UAR %")
    figures = [f"{share(accuracy_score(truth, predicted))}", f"{f1_score(truth, predicted, average='weighted'):.3f}"]
    assert texts_of(other, "svc")[index + 1 : index + 3] == figures


def test_sizes_are_figures_of_models_fitted_at_that_size(
    whole_study: StudyResults, whole_report: Mapping[str, Section]
) -> None:
    section = whole_report["classical"]
    assert len(pictures(section)) == 2
    assert ">10 % of the training data<" in pictures(section)[0].svg
    assert "published" in pictures(section)[0].svg
    assert "published" not in pictures(section)[1].svg
    table = tables(section)[2]
    truth, predicted, _ = stored(whole_study, "svc(size=0.1)", "speaker-5")
    (start,) = [place for place, title in table.groups if title == "Unseen speakers"]
    row = next(row for row in table.rows[start:] if row[:2] == ["svc", "10 %"])
    assert row[5] == share(accuracy_score(truth, predicted))
    assert row[7].split()[0] == share(balanced_accuracy_score(truth, predicted))


def test_networks_stand_beside_what_was_published(
    whole_study: StudyResults, whole_report: Mapping[str, Section]
) -> None:
    table = tables(whole_report["networks"])[0]
    row = texts_of(table, "cnn-lstm-4")
    assert [row[2], row[3], row[4]] == ["510,983", "511,112", "511,112"]
    fewer = (
        "Epochs: at most 30 (unseen corpora) instead of the study's 100, for cnn-1 and cnn-lstm-4; part of the change "
        "from one protocol to another may be due to that."
    )
    assert fewer in tables(whole_report["networks"])[1].notes
    assert fewer in tables(whole_report["gap"])[0].notes
    truth, predicted, _ = stored(whole_study, "cnn-lstm-4", "random-25")
    assert row[-2:] == [f"{100 * accuracy_score(truth, predicted):.2f}", "92.21"]


def test_baselines_by_what_they_see(whole_study: StudyResults, whole_report: Mapping[str, Section]) -> None:
    (table,) = tables(whole_report["baselines"])
    assert [title for _, title in table.groups] == [
        "On the study's 180 features",
        "On eGeMAPS (88, openSMILE)",
        "On the waveform",
        "What training and test share",
    ]
    for place, features in ((0, "classic"), (1, "egemaps")):
        truth, predicted, _ = stored(whole_study, f"svc-scaled(features={features})", "corpus")
        assert table.rows[place][7].split()[0] == share(balanced_accuracy_score(truth, predicted))


def test_one_speaker_out_tells_every_speaker(whole_study: StudyResults, whole_report: Mapping[str, Section]) -> None:
    section = whole_report["loso"]
    (table,) = tables(section)
    truth, predicted, speakers = stored(whole_study, "svc", "loso")
    own = [
        np.mean(
            [
                np.mean(predicted[(speakers == name) & (truth == label)] == label)
                for label in set(truth[speakers == name])
            ]
        )
        for name in sorted(set(speakers))
    ]
    assert len(own) == sum(made_up_study.SPEAKERS.values())
    row = texts_of(table, "svc")
    assert row[4:7] == [share(min(own)), share(float(np.median(own))), share(max(own))]
    beside = balanced_accuracy_score(*stored(whole_study, "svc", "speaker-5")[:2])
    assert row[7].split()[0] == share(beside)
    assert "cnn-1, 20 epochs: 20 epochs with one speaker out, 100 with folds of several speakers." in table.notes


def test_the_leak_table_counts_what_both_sides_share(
    whole_study: StudyResults, whole_report: Mapping[str, Section]
) -> None:
    table = gap.leak_table(whole_study)
    for key in ("random-25", "speaker-5", "corpus", "loso"):
        folds = whole_study.folds(key)
        group, known, copied = {0, 3, 200}, 0, 0
        for fold in folds:
            heard = set(whole_study.table["speaker"].iloc[fold.train])
            known += sum(whole_study.table["speaker"].iloc[row] in heard for row in fold.test)
            copied += len(group & {*fold.test.tolist()}) if group & {*fold.train.tolist()} else 0
        clips = sum(len(fold.test) for fold in folds)
        assert row_of(table, key)["speaker known"] == f"{share(known / clips)} % ({known:,})"
        assert row_of(table, key)["copies"] == str(copied)
    assert row_of(table, "corpus")["copies"] == "3"
    for shown in (
        tables(whole_report["gap"])[0],
        tables(whole_report["classical"])[1],
        tables(whole_report["networks"])[1],
        tables(whole_report["baselines"])[0],
    ):
        row = texts_of(shown, "copies of training clips")
        assert [text for text in row[1:] if text] == [
            row_of(table, key)["copies"] for key in ("random-25", "speaker-5", "corpus")
        ]
        row = texts_of(shown, "speaker heard in training")
        assert [text for text in row[1:] if text] == ["100.0 %", "0.0 %", "0.0 %"]
    assert row_of(table, "random-25")["sentence known"].endswith("unknown")


def test_copies_that_nobody_looked_for_are_not_called_none(tmp_path: Path) -> None:
    table = gap.leak_table(reported_study.nothing(tmp_path, "classical"))
    assert {row[-1] for row in table.rows} == {"not counted"}
    assert any("nobody has looked" in note for note in table.notes)


def test_several_revisions_and_machines_are_counted(
    whole_study: StudyResults, whole_report: Mapping[str, Section]
) -> None:
    table = tables(whole_report["origin"])[1]
    assert "[" not in texts_of(table, "software")[1]
    assert texts_of(table, "seed")[1] == "7"
    assert texts_of(table, "manifest")[1].startswith(manifest.fingerprint(whole_study.table))


def test_copies_are_looked_for_once_and_stay_valid_when_rows_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made_up_study.made_up_table()
    calls: list[int] = []

    def audited(rows: pd.DataFrame, **_: Any) -> Any:
        calls.append(len(rows))
        groups = [SimpleNamespace(rows=(1, 4), kind="near")]
        return SimpleNamespace(clips=len(rows), groups=groups, failures=[], too_short=[])

    monkeypatch.setattr(copies, "audit", audited)
    numbers = np.arange(len(table)) + 10
    for _ in range(2):
        copies.keep_copies(tmp_path, table, numbers)
    assert calls == [len(table)]
    assert copies.read_copies(tmp_path, numbers) == ((1, 4),)
    assert copies.read_copies(tmp_path, numbers[2:]) == ()  # of the two only one is left
    copies.keep_copies(tmp_path, table.iloc[1:], numbers[1:])
    assert calls == [len(table), len(table) - 1]
    (tmp_path / copies.FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ProtocolError, match="cannot be read"):
        copies.read_copies(tmp_path, numbers)
    assert copies.read_copies(tmp_path / "nowhere", numbers) is None
