"""Clips under other conditions: the same as waveforms and as features, and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emovox import manifest
from emovox.evaluation.conditions import babble_for, degrade
from emovox.evaluation.hearing import add_conditions, heard, kind_under
from emovox.evaluation.inputs import Inputs
from emovox.evaluation.planning import listening_sample
from emovox.features.classic import classic


@pytest.fixture
def inputs(voice: np.ndarray) -> Inputs:
    rows = [{"path": f"{number}.wav", "speaker": f"s{number % 8}", "emotion": "sad"} for number in range(16)]
    waveforms = np.empty(16, dtype=object)
    for number in range(16):
        waveforms[number] = np.roll(voice, 500 * number)[: 9_000 + 100 * number]
    return Inputs(manifest.build(rows), {"waveform": waveforms}, [], {}, {"classic": "1"})


@pytest.mark.parametrize("condition", ["white-0db", "babble-5db"])
def test_features_are_those_of_the_changed_waveform(inputs: Inputs, tmp_path: Path, condition: str) -> None:
    rows, speakers = np.array([1, 5, 11]), inputs.speakers
    added = add_conditions(inputs, ["classic"], [condition], rows, cache=tmp_path, jobs=1)
    features = heard(added.values, "classic", condition, rows, speakers=speakers)
    changed = heard(added.values, "waveform", condition, rows, speakers=speakers)
    for row, vector, waveform in zip(rows, features, changed, strict=True):
        np.testing.assert_array_equal(vector, classic(waveform, 16_000))
        others = [inputs.values["waveform"][other] for other in babble_for(speakers, int(row), seed=int(row))]
        expected = degrade(inputs.values["waveform"][row], condition, seed=int(row), babble=others)
        np.testing.assert_array_equal(waveform, expected)
        assert not np.array_equal(waveform, inputs.values["waveform"][row])
    assert np.isnan(added.values[kind_under("classic", condition)][0]).all(), "other rows have no features"


def test_features_are_kept_and_a_damaged_file_is_made_again(inputs: Inputs, tmp_path: Path) -> None:
    rows = np.array([2, 3])
    first = add_conditions(inputs, ["classic"], ["telephone"], rows, cache=tmp_path, jobs=1)
    (path,) = tmp_path.iterdir()
    when = path.stat().st_mtime_ns
    silent = np.empty(16, dtype=object)
    silent[:] = [np.ones(9_000, np.float32)] * 16
    again = add_conditions(
        replace(inputs, values={"waveform": silent}), ["classic"], ["telephone"], rows, cache=tmp_path, jobs=1
    )
    assert path.stat().st_mtime_ns == when, "nothing was computed"
    name = kind_under("classic", "telephone")
    np.testing.assert_array_equal(first.values[name], again.values[name])
    path.write_bytes(path.read_bytes()[:50])
    third = add_conditions(inputs, ["classic"], ["telephone"], rows, cache=tmp_path, jobs=1)
    np.testing.assert_array_equal(first.values[name], third.values[name])


def test_the_sample_takes_of_every_speaker_and_emotion_alike() -> None:
    rows = [
        {"path": f"{s}-{e}-{n}.wav", "corpus": "c", "speaker": s, "emotion": e}
        for s, count in (("few", 4), ("many", 200))
        for e in ("sad", "happy", "angry")
        for n in range(count)
    ]
    table = manifest.build(rows)
    taken = table.iloc[listening_sample(table, seed=7)]
    counts = taken.groupby(["speaker", "emotion"]).size()
    assert set(counts["few"]) == {4}
    assert set(counts["many"]) == {7}
    np.testing.assert_array_equal(listening_sample(table, seed=7), listening_sample(table, seed=7))
