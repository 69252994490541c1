"""What folds share: real corpora under real protocols, and every count against counting clip by clip."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emovox import manifest
from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError, ProtocolError
from emovox.evaluation.leaks import Leak, leaks
from emovox.evaluation.protocols import (
    CorpusTransfer,
    EvaluationProtocol,
    LeaveOneCorpusOut,
    LeaveOneSpeakerOut,
    RandomSplit,
    SpeakerFolds,
)
from emovox.evaluation.splitting import Fold

COPIES = ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")
"""The one recording that RAVDESS has twice."""


@pytest.fixture(scope="module")
def real(corpora_dir: Path) -> pd.DataFrame:
    """EmoDB, RAVDESS and TESS."""
    with (corpora_dir / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            {
                "path": row["path"],
                "corpus": row["corpus"],
                "speaker": f"{row['corpus']}-{row['speaker']}",
                "gender": {"m": "male", "f": "female"}[row["gender"]],
                "emotion": row["label7"],
                "sentence": row["sentence"],
            }
            for row in csv.DictReader(file)
            if row["label7"]
        ]
    return manifest.build(rows)


def test_the_random_split_of_real_corpora_leaks_nearly_everything(real: pd.DataFrame) -> None:
    leak = leaks(real, RandomSplit().folds(real))
    assert leak.clips == round(len(real) / 4)
    assert leak.speaker_share > 0.99
    assert leak.sentence_share > 0.95
    assert leak.speakers == real["speaker"].nunique() == 36
    assert leak.unknown_speaker_clips == 0


def test_speaker_folds_of_real_corpora_share_sentences_only(real: pd.DataFrame) -> None:
    leak = leaks(real, SpeakerFolds().folds(real))
    assert (leak.clips, leak.speaker_clips, leak.speakers) == (len(real), 0, 0)
    assert leak.sentence_share > 0.9
    assert leak.sentence.startswith("0 % of test clips by speakers heard in training, ")
    assert leak.sentence.endswith(" 0 copies")


def test_another_corpus_shares_nothing(real: pd.DataFrame) -> None:
    leak = leaks(real, LeaveOneCorpusOut().folds(real))
    assert (leak.speaker_clips, leak.sentence_clips, leak.speakers) == (0, 0, 0)


def test_the_copy_in_ravdess_counts_where_it_is_divided(real: pd.DataFrame) -> None:
    first, second = (int(np.flatnonzero(real["path"].str.contains(name))[0]) for name in COPIES)
    others = np.setdiff1d(np.arange(len(real)), [first, second])
    divided = Fold("0", np.append(others[::2], first), np.append(others[1::2], second))
    together = Fold("0", np.append(others[::2], [first, second]), others[1::2])
    assert [leaks(real, [fold], [(first, second)]).copied_clips for fold in (divided, together)] == [1, 0]
    assert leaks(real, [divided]).copied_clips == 0
    assert leaks(real, SpeakerFolds().folds(real), [(first, second)]).copied_clips == 0


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Any manifest with some speakers and sentences unknown."""
    row = st.tuples(
        st.sampled_from(["", *(f"s{number}" for number in range(6))]),
        st.sampled_from("abc"),
        st.sampled_from(["", "1", "2", "3"]),
        st.sampled_from(EMOTIONS),
    )
    rows = draw(st.lists(row, min_size=2, max_size=50))
    return manifest.build(
        [
            {"path": str(number), "speaker": speaker, "corpus": corpus, "sentence": sentence, "emotion": emotion}
            for number, (speaker, corpus, sentence, emotion) in enumerate(rows)
        ]
    )


def counted(table: pd.DataFrame, folds: Sequence[Fold], groups: Sequence[Sequence[int]]) -> Leak:
    """The definition, clip by clip."""
    numbers = dict.fromkeys(Leak.__dataclass_fields__, 0)
    speakers = set()
    rows = table.to_dict("records")
    for fold in folds:
        for test in fold.test:
            one = rows[test]
            others = [rows[train] for train in fold.train]
            heard = one["speaker"] != "" and any(one["speaker"] == other["speaker"] for other in others)
            spoken = one["sentence"] != "" and any(
                (one["corpus"], one["sentence"]) == (other["corpus"], other["sentence"]) for other in others
            )
            numbers["clips"] += 1
            numbers["speaker_clips"] += heard
            numbers["sentence_clips"] += spoken
            numbers["copied_clips"] += any(test in group and set(group) & set(fold.train) for group in groups)
            numbers["unknown_speaker_clips"] += one["speaker"] == ""
            numbers["unknown_sentence_clips"] += one["sentence"] == ""
            if heard:
                speakers.add(one["speaker"])
    return Leak(**{**numbers, "speakers": len(speakers)})


@settings(max_examples=30, deadline=None)
@given(table=tables(), data=st.data())
def test_counts_equal_counting_clip_by_clip(table: pd.DataFrame, data: st.DataObject) -> None:
    folds = []
    for name in data.draw(st.lists(st.sampled_from("xyz"), min_size=1, max_size=3)):
        side = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(table), max_size=len(table))))
        folds.append(Fold(name, np.flatnonzero(side == 0), np.flatnonzero(side == 1)))
    assume(sum(len(fold.test) for fold in folds))
    order = data.draw(st.permutations(range(len(table))))
    groups = [order[start : start + 2] for start in range(0, min(len(order), 10) - 1, 2)]
    assert leaks(table, folds, groups) == counted(table, folds, groups)


@settings(max_examples=30, deadline=None)
@given(
    table=tables(),
    protocol=st.sampled_from(
        [
            SpeakerFolds(unknown_speakers="aside"),
            SpeakerFolds(n_splits=2, unknown_speakers="aside"),
            LeaveOneSpeakerOut(unknown_speakers="aside"),
            LeaveOneCorpusOut(),
            CorpusTransfer(["a"], ["b", "c"]),
        ]
    ),
)
def test_protocols_that_separate_speakers_share_none(table: pd.DataFrame, protocol: EvaluationProtocol) -> None:
    try:
        folds = protocol.folds(table)
    except ProtocolError:
        assume(False)
    leak = leaks(table, folds)
    assert (leak.speaker_clips, leak.speakers) == (0, 0)
    assert leak.speaker_share == 0


def test_the_same_words_in_another_corpus_are_another_sentence() -> None:
    rows = [{"path": str(number), "corpus": "ab"[number // 2], "sentence": "01"} for number in range(4)]
    table = manifest.build(rows)
    assert leaks(table, [Fold("0", np.array([0, 1]), np.array([2, 3]))]).sentence_clips == 0
    assert leaks(table, [Fold("0", np.array([0, 2]), np.array([1, 3]))]).sentence_clips == 2


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((200, 200, 194, 0, 0, 0), "100 % of test clips by speakers heard in training, 97 % with sentences spoken there"
         ", 0 copies"),
        ((3000, 2999, 1, 1, 0, 1), "over 99 % of test clips by speakers heard in training, under 1 % with sentences "
         "spoken there, 1 copy; 1 test clip names no sentence"),
        ((3000, 0, 0, 1234, 30, 0), "0 % of test clips by speakers heard in training, 0 % with sentences spoken there, "
         "1,234 copies; 30 test clips name no speaker"),
    ],
)  # fmt: skip
def test_the_sentence_for_people(counts: tuple[int, ...], sentence: str) -> None:
    names = ("clips", "speaker_clips", "sentence_clips", "copied_clips", "unknown_speaker_clips")
    leak = Leak(**dict(zip((*names, "unknown_sentence_clips"), counts, strict=True)), speakers=3)
    assert leak.sentence == sentence


def test_shares() -> None:
    leak = Leak(
        clips=8,
        speaker_clips=4,
        sentence_clips=2,
        copied_clips=1,
        unknown_speaker_clips=0,
        unknown_sentence_clips=0,
        speakers=1,
    )
    assert (leak.speaker_share, leak.sentence_share, leak.copied_share) == (0.5, 0.25, 0.125)


def test_what_cannot_be_counted_is_refused() -> None:
    table = manifest.build([{"path": "a", "speaker": "s"}, {"path": "b", "speaker": "s"}])
    fold = Fold("0", np.array([0]), np.array([1]))
    with pytest.raises(ParameterError, match="no fold tests a clip"):
        leaks(table, [])
    with pytest.raises(ParameterError, match=r"copies name rows outside 0 \.\. 1"):
        leaks(table, [fold], [(0, 2)])
    with pytest.raises(ParameterError, match="split '0' names rows outside"):
        leaks(table.iloc[:1], [fold])
    with pytest.raises(ParameterError, match="no column sentence"):
        leaks(table.drop(columns="sentence"), [fold])
