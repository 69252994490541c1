"""Protocols: nobody on two sides, everybody tested once, the same division every time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_validate, train_test_split

from emovox import manifest
from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError, ProtocolError
from emovox.evaluation.protocols import (
    FOLD_LISTS,
    PROTOCOLS,
    CorpusTransfer,
    EvaluationProtocol,
    FileFolds,
    LeaveOneCorpusOut,
    LeaveOneSpeakerOut,
    RandomSplit,
    SpeakerFolds,
    validation_split,
)


def pooled_table() -> pd.DataFrame:
    """Like EmoDB, RAVDESS and TESS together: many speakers with few clips, two with very many."""
    rows = []
    for corpus, speakers, clips in (("emodb", 10, 45), ("ravdess", 24, 52), ("tess", 2, 400)):
        for speaker in range(1, speakers + 1):
            for clip in range(clips):
                rows.append(
                    {
                        "path": f"/{corpus}/{speaker}/{clip}.wav",
                        "corpus": corpus,
                        "speaker": f"{corpus}-{speaker:02d}",
                        "gender": "female" if speaker % 2 == 0 or corpus == "tess" else "male",
                        "emotion": EMOTIONS[clip % (6 if corpus == "emodb" else 7)],
                    }
                )
    return manifest.build(rows)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Any manifest: speakers of very unequal size, in one or several corpora, some of them unknown."""
    n_speakers = draw(st.integers(1, 12))
    names = [f"s{number}" for number in range(n_speakers)]
    if draw(st.booleans()):
        names.append("")
    row = st.tuples(st.sampled_from(names), st.sampled_from("abc"), st.sampled_from(EMOTIONS))
    rows = draw(st.lists(row, min_size=2, max_size=80))
    return manifest.build(
        [
            {"path": str(number), "speaker": speaker, "corpus": corpus, "emotion": emotion}
            for number, (speaker, corpus, emotion) in enumerate(rows)
        ]
    )


def speakers_of(table: pd.DataFrame, rows: np.ndarray) -> set[str]:
    return set(table["speaker"].iloc[rows]) - {""}


PROPERTY_PROTOCOLS: list[Callable[[int], EvaluationProtocol]] = [
    lambda seed: SpeakerFolds(n_splits=5, seed=seed, unknown_speakers="aside"),
    lambda seed: SpeakerFolds(n_splits=2, seed=seed, unknown_speakers="aside"),
    lambda seed: LeaveOneSpeakerOut(unknown_speakers="aside"),
    lambda seed: LeaveOneCorpusOut(),
    lambda seed: CorpusTransfer(["a"], ["b", "c"]),
    lambda seed: FileFolds([["s0", "s1"], ["s2"], ["s3", "s4", "s5"]]),
    lambda seed: RandomSplit(seed=seed),
]


@settings(max_examples=150, deadline=None)
@given(table=tables(), seed=st.integers(0, 5), make=st.sampled_from(PROPERTY_PROTOCOLS))
def test_nobody_stands_on_two_sides(table: pd.DataFrame, seed: int, make: Callable[[int], EvaluationProtocol]) -> None:
    protocol = make(seed)
    try:
        folds = protocol.folds(table)
    except ProtocolError:
        return
    tested: list[int] = []
    for fold in folds:
        fit, validation = validation_split(table, fold.train, protocol, seed=seed)
        parts = (fit, validation, fold.test)
        assert len(fit)
        assert len(fold.test)
        together = np.concatenate(parts)
        assert len(set(together)) == len(together)
        assert set(fit) | set(validation) == set(fold.train)
        tested.extend(fold.test)
        if protocol.separates_speakers(table):
            groups = [speakers_of(table, part) for part in parts]
            assert not groups[0] & groups[1]
            assert not groups[0] & groups[2]
            assert not groups[1] & groups[2]
            assert "" not in set(table["speaker"].iloc[validation])
    assert len(set(tested)) == len(tested)
    again = make(seed).folds(table)
    assert [fold.test.tolist() for fold in folds] == [fold.test.tolist() for fold in again]


@settings(max_examples=60, deadline=None)
@given(table=tables(), seed=st.integers(0, 5))
def test_speaker_folds_test_every_known_clip_once_and_count_the_rest(table: pd.DataFrame, seed: int) -> None:
    protocol = SpeakerFolds(seed=seed, unknown_speakers="aside")
    known = set(np.flatnonzero(table["speaker"] != ""))
    if len(speakers_of(table, np.arange(len(table)))) < 2:
        with pytest.raises(ProtocolError, match="kept apart"):
            protocol.folds(table)
        return
    tests = [fold.test for fold in protocol.folds(table)]
    assert len(tests) == min(5, table.loc[table["speaker"] != "", "speaker"].nunique())
    assert set(np.concatenate(tests)) == known
    assert set(protocol.put_aside(table)) == set(range(len(table))) - known


def test_the_dealing_does_not_depend_on_the_order_of_the_rows() -> None:
    table = pooled_table()
    shuffled = table.sample(frac=1, random_state=3).reset_index(drop=True)
    for one, other in zip(SpeakerFolds().folds(table), SpeakerFolds().folds(shuffled), strict=True):
        assert speakers_of(table, one.test) == speakers_of(shuffled, other.test)


def test_seed_changes_the_dealing() -> None:
    table = pooled_table()
    tests = [[speakers_of(table, fold.test) for fold in SpeakerFolds(seed=seed).folds(table)] for seed in (1, 2)]
    assert tests[0] != tests[1]


def test_speaker_folds_spread_corpora_and_genders() -> None:
    table = pooled_table()
    for fold in SpeakerFolds(n_splits=5).folds(table):
        tested = table.iloc[fold.test]
        per_corpus = tested.groupby("corpus")["speaker"].nunique()
        assert 1 <= per_corpus["emodb"] <= 3
        assert 3 <= per_corpus["ravdess"] <= 7
        assert per_corpus.get("tess", 0) <= 1
        assert tested.loc[tested["corpus"] == "ravdess", "gender"].nunique() == 2


def test_random_is_the_split_of_the_study() -> None:
    table = pooled_table()
    train, test = next(RandomSplit().split(table))
    expected_train, expected_test = train_test_split(np.arange(len(table)), test_size=0.25, random_state=7)
    assert train.tolist() == sorted(expected_train)
    assert test.tolist() == sorted(expected_test)


def test_random_with_validation_is_64_16_20() -> None:
    table = pooled_table()
    protocol = RandomSplit(test_size=0.2)
    fold = protocol.folds(table)[0]
    fit, validation = validation_split(table, fold.train, protocol)
    shares = [len(part) / len(table) for part in (fit, validation, fold.test)]
    assert shares == pytest.approx([0.64, 0.16, 0.2], abs=0.002)


def test_validation_leaves_every_corpus_something_to_fit() -> None:
    table = pooled_table()
    protocol = SpeakerFolds()
    for fold in protocol.folds(table):
        fit, validation = validation_split(table, fold.train, protocol)
        assert set(table["corpus"].iloc[fit]) == set(table["corpus"].iloc[fold.train])
        assert 0.05 < len(validation) / len(fold.train) < 0.4


def test_one_training_speaker_leaves_nobody_to_validate_on() -> None:
    table = pooled_table().query("corpus == 'tess'").reset_index(drop=True)
    protocol = SpeakerFolds()
    folds = protocol.folds(table)
    assert len(folds) == 2
    fit, validation = validation_split(table, folds[0].train, protocol)
    assert len(validation) == 0
    assert fit.tolist() == folds[0].train.tolist()


def test_a_corpus_with_an_unknown_speaker_is_fitted_whole() -> None:
    table = pooled_table()
    table.loc[table.index[table["corpus"] == "ravdess"][:3], "speaker"] = ""
    protocol = LeaveOneCorpusOut()
    fold = next(fold for fold in protocol.folds(table) if fold.name == "tess")
    _, validation = validation_split(table, fold.train, protocol)
    assert set(table["corpus"].iloc[validation]) == {"emodb"}


@pytest.mark.parametrize("protocol", [SpeakerFolds(), LeaveOneSpeakerOut()])
def test_unknown_speakers_are_refused_with_their_number(protocol: EvaluationProtocol) -> None:
    table = pooled_table()
    table.loc[:16, "speaker"] = ""
    with pytest.raises(ProtocolError, match="17 of 2,498 clips have an unknown speaker") as caught:
        protocol.folds(table)
    assert caught.value.code == "unknown_speakers"


def test_describe_names_everything_a_figure_needs() -> None:
    table = pooled_table()
    table.loc[:16, "speaker"] = ""
    assert SpeakerFolds(unknown_speakers="aside").describe(table) == (
        "emodb + ravdess + tess; 2,498 clips, 7 classes, 36 speakers (17 clips of unknown speakers); "
        "speaker: 5 folds without a common speaker; 17 clips put aside"
    )
    assert "speaker-dependent" in RandomSplit().describe(table)


def test_usable_in_cross_validate_with_features_and_with_the_table() -> None:
    table = pooled_table()
    features = np.random.default_rng(0).normal(size=(len(table), 4))
    beside = cross_validate(DummyClassifier(), features, table["emotion"], groups=table, cv=SpeakerFolds())
    within = cross_validate(DummyClassifier(), table, table["emotion"], cv=SpeakerFolds())
    assert len(beside["test_score"]) == SpeakerFolds().get_n_splits(table) == 5
    assert beside["test_score"].tolist() == within["test_score"].tolist()
    with pytest.raises(ParameterError, match="divides a manifest"):
        next(SpeakerFolds().split(features))


def test_corpus_protocols() -> None:
    table = pooled_table()
    folds = LeaveOneCorpusOut().folds(table)
    assert [fold.name for fold in folds] == ["emodb", "ravdess", "tess"]
    assert all(set(table["corpus"].iloc[fold.test]) == {fold.name} for fold in folds)
    transfer = CorpusTransfer(["tess"], ["emodb"])
    (fold,) = transfer.folds(table)
    assert set(table["corpus"].iloc[fold.train]) == {"tess"}
    assert len(transfer.put_aside(table)) == 24 * 52
    with pytest.raises(ProtocolError, match="no clip of esd"):
        CorpusTransfer(["esd"], ["tess"]).folds(table)
    with pytest.raises(ParameterError, match="none on both"):
        CorpusTransfer(["tess"], ["tess"])
    with pytest.raises(ProtocolError, match="found only: tess"):
        LeaveOneCorpusOut().folds(table[table["corpus"] == "tess"].reset_index(drop=True))


def test_ravdess_list_covers_the_24_actors_once() -> None:
    named = [speaker for speakers in FOLD_LISTS["ravdess-6"].values() for speaker in speakers]
    assert sorted(named) == [f"ravdess-{actor:02d}" for actor in range(1, 25)]
    table = pooled_table()
    protocol = FileFolds("ravdess-6")
    assert len(protocol.folds(table)) == 6
    assert protocol.separates_speakers(table)
    assert len(protocol.put_aside(table)) == len(table) - 24 * 52


def test_folds_from_csv_and_json_by_speaker_and_by_path(tmp_path: Path) -> None:
    paths = [tmp_path / "sound" / f"{number}.wav" for number in range(4)]
    table = manifest.build([{"path": str(path), "speaker": "ab"[i % 2], "corpus": "c"} for i, path in enumerate(paths)])
    by_speaker = tmp_path / "speakers.csv"
    by_speaker.write_text("fold,speaker\nx,a\ny,b\n")
    by_path = tmp_path / "paths.csv"
    by_path.write_text("fold,path\nx,sound/0.wav\nx,sound/2.wav\ny,sound/1.wav\ny,sound/3.wav\n")
    as_json = tmp_path / "both.json"
    as_json.write_text(json.dumps({"x": ["sound/0.wav", "sound/2.wav"], "y": ["b"]}))
    for source in (by_speaker, by_path, as_json):
        folds = FileFolds(source).folds(table)
        assert [(fold.name, fold.test.tolist()) for fold in folds] == [("x", [0, 2]), ("y", [1, 3])]
        assert FileFolds(source).separates_speakers(table)
    mixed = tmp_path / "mixed.json"
    mixed.write_text(json.dumps([["sound/0.wav", "sound/1.wav"], ["sound/2.wav", "sound/3.wav"]]))
    assert not FileFolds(mixed).separates_speakers(table)
    assert FileFolds(by_speaker).key != FileFolds(by_path).key


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "speaker\nx\n", "has the columns speaker"),
        ("a.csv", "fold,speaker\n0,\n", "line 2 names no fold or no clip"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"x": "ravdess-01"}', "is not a list of folds"),
        ("a.json", '[["emodb-01"], ["emodb-01"]]', "stands in the folds '0' and '1'"),
        ("a.json", '[["emodb-01"], ["nobody"]]', "two groups or more"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ProtocolError, match=message):
        FileFolds(path).folds(pooled_table())


def test_missing_list_names_the_lists_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="ravdess-6"):
        FileFolds(tmp_path / "none.csv").folds(pooled_table())


def test_parameters_out_of_range() -> None:
    table = pooled_table()
    with pytest.raises(ParameterError):
        RandomSplit(test_size=1)
    with pytest.raises(ParameterError):
        SpeakerFolds(n_splits=1)
    with pytest.raises(ParameterError):
        SpeakerFolds(unknown_speakers="guess").folds(table)  # type: ignore[arg-type]
    with pytest.raises(ParameterError):
        validation_split(table, np.arange(10), RandomSplit(), size=0)


def test_protocols_by_name() -> None:
    assert list(PROTOCOLS) == ["random", "speaker", "loso", "corpus", "file"]
