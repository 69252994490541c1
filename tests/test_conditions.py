"""Conditions of robustness do what their names say: measured on what comes out, with textbook methods."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import measuring
import numpy as np
import pytest
import sound_files
from hypothesis import given, settings
from hypothesis import strategies as st
from measuring import RATE, Signal, level_at_db, power, snr_db, tones
from scipy import signal

from emovox.errors import AudioError, ParameterError
from emovox.evaluation.conditions import CONDITIONS, babble_for, degrade

DRAWN = tuple(name for name in CONDITIONS if name.startswith(("white", "pink", "babble", "reverb")))
SNRS = tuple(name for name in CONDITIONS if name.endswith("db") and not name.startswith("gain"))


@pytest.fixture(scope="module")
def crowd() -> list[Signal]:
    """Eight made voices of different lengths and levels."""
    rng = np.random.default_rng(5)
    return [
        (0.02 * (index + 1) * np.repeat(rng.normal(size=40 + 10 * index), 400)).astype(np.float32) for index in range(8)
    ]


@pytest.fixture(scope="module")
def recordings(corpora_dir: Path) -> list[Signal]:
    return measuring.real_recordings(corpora_dir)


# The table


def test_table_is_complete() -> None:
    assert [condition.name for condition in CONDITIONS.values()] == list(CONDITIONS)
    assert list(dict.fromkeys(condition.group for condition in CONDITIONS.values())) == [
        *("white noise", "pink noise", "babble", "reverberation", "telephone band"),
        *("opus", "clipping", "gain", "bandwidth"),
    ]
    for condition in CONDITIONS.values():
        assert re.fullmatch(r"[a-z0-9-]+", condition.name)
        assert condition.level
        assert condition.summary.endswith(".")
        assert not re.search(r"[{}]", condition.summary)
    with pytest.raises(TypeError):
        CONDITIONS["mine"] = CONDITIONS["telephone"]  # type: ignore[index]


def test_page_lists_every_condition() -> None:
    file = Path(__file__).parents[1] / "docs" / "robustness.md"
    if not file.is_file():
        pytest.skip("a source distribution has no docs")
    page = file.read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \| ([^|]+) \|", page, flags=re.MULTILINE) == [
        (condition.name, condition.group, condition.level) for condition in CONDITIONS.values()
    ]


def test_measuring_imports_nothing_that_trains() -> None:
    program = (
        "import sys, emovox.evaluation.conditions;"
        "print([name for name in sys.modules if name in ('torch', 'sklearn') or name.startswith('emovox.models')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


# What holds for all


@pytest.mark.parametrize("name", CONDITIONS)
def test_same_seed_same_sound(name: str, clip: Signal, crowd: list[Signal]) -> None:
    before = clip.copy()
    first, again, other = (degrade(clip, name, seed=seed, babble=crowd) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (name not in DRAWN)
    np.testing.assert_array_equal(clip, before)
    assert first.dtype == np.float32
    assert first.shape == clip.shape
    assert np.isfinite(first).all()
    assert not np.array_equal(first, clip)


@pytest.mark.parametrize("name", CONDITIONS)
def test_real_recordings(name: str, recordings: list[Signal]) -> None:
    for number, recording in enumerate(recordings[:4]):
        disturbed = degrade(recording, name, seed=number, babble=recordings)
        assert disturbed.shape == recording.shape
        assert np.isfinite(disturbed).all()
        # Speech is still there, and still in time: the envelopes follow each other.
        loudness, was = (np.convolve(np.abs(x), np.ones(800), "same")[::80] for x in (disturbed, recording))
        assert np.corrcoef(loudness, was)[0, 1] > 0.4
        assert abs(sound_files.lag(loudness.astype(np.float32), was.astype(np.float32))) <= 12


@pytest.mark.parametrize("name", CONDITIONS)
def test_short_clips_of_odd_lengths(name: str, voice: Signal, crowd: list[Signal]) -> None:
    for length in (1_600, 1_601, 1_999, 4_801):
        disturbed = degrade(voice[:length], name, seed=0, babble=crowd)
        assert disturbed.shape == (length,)
        assert np.isfinite(disturbed).all()
        assert np.ptp(disturbed) > 1e-3


@pytest.mark.parametrize("name", CONDITIONS)
def test_quiet_and_huge_clips(name: str, voice: Signal, crowd: list[Signal]) -> None:
    reference = degrade(voice, name, seed=0, babble=crowd)
    for factor in (1e-3, 1e4, 2e9):
        disturbed = degrade((factor * voice).astype(np.float32), name, seed=0, babble=crowd)
        assert np.isfinite(disturbed).all()
        if name != "gain-plus-20db":  # which knows full scale
            # At 6 kbit/s the codec decides otherwise after the slightest rounding.
            tolerance = 0.2 if "opus" in name else 1e-3
            assert power(disturbed) == pytest.approx(factor**2 * power(reference), rel=tolerance)


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        pytest.param(np.zeros(16_000, np.float32), "silent", id="silence"),
        pytest.param(np.full(16_000, 0.3, np.float32), "silent", id="offset"),
        pytest.param(np.zeros(0, np.float32), "empty", id="empty"),
        pytest.param(np.ones(1_599, np.float32), "too_short", id="short"),
        pytest.param(np.array([np.nan] * 16_000, np.float32), "non_finite", id="NaN"),
        pytest.param(np.array([np.inf] * 16_000, np.float32), "non_finite", id="infinite"),
    ],
)
def test_what_is_not_sound_is_refused(samples: Signal, code: str, crowd: list[Signal]) -> None:
    for name in CONDITIONS:
        with pytest.raises(AudioError) as caught:
            degrade(samples, name, seed=0, babble=crowd)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("rate-8khz", signal.windows.hann(RATE) * tones(6_000)),  # faded, as a sudden end sounds at all frequencies
        ("telephone", signal.windows.hann(RATE) * tones(5_000)),
        ("telephone", signal.windows.hann(RATE) * tones(100)),
        ("gain-plus-20db", 0.5 + 0.1 * tones(400)),
    ],
)
def test_nothing_becomes_silent_unnoticed(name: str, samples: Signal) -> None:
    with pytest.raises(AudioError, match=f"silent under the condition {name}") as caught:
        degrade(samples, name, seed=0)
    assert caught.value.code == "silent"


def test_wrong_parameters(voice: Signal) -> None:
    with pytest.raises(ParameterError, match=r"unknown condition 'white'.*white-20db"):
        degrade(voice, "white", seed=0)
    with pytest.raises(ParameterError, match="negative"):
        degrade(voice, "white-20db", seed=-1)


# Noise


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(SNRS),
    seed=st.integers(0, 2**63),
    length=st.integers(1_600, 32_000),
    gain=st.floats(1e-2, 1e5),
)
def test_snr(name: str, seed: int, length: int, gain: float, voice: Signal, crowd: list[Signal]) -> None:
    clip = (gain * voice[:length]).astype(np.float32)
    wanted = float(re.fullmatch(r"\w+-(\d+)db", name)[1])  # type: ignore[index]
    assert snr_db(clip, degrade(clip, name, seed=seed, babble=crowd)) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("name", SNRS)
def test_snr_of_real_recordings(name: str, recordings: list[Signal]) -> None:
    for recording in recordings:
        disturbed = degrade(recording, name, seed=1, babble=recordings)
        assert snr_db(recording, disturbed) == pytest.approx(float(CONDITIONS[name].level.split()[0]), abs=0.05)


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0.0), ("pink", -3.01)])
@pytest.mark.parametrize("seconds", [1, 20])
def test_slope_of_noise(kind: str, slope_db: float, seconds: int) -> None:
    clip = tones(1_000, length=seconds * RATE)
    densities = []
    for seed in range(20 // seconds):
        noise = degrade(clip, f"{kind}-0db", seed=seed).astype(np.float64) - clip
        frequency, density = signal.welch(noise, RATE, nperseg=4_096)
        densities.append(density)
    band = (frequency >= 50) & (frequency <= 7_500)
    octaves, level_db = np.log2(frequency[band]), 10 * np.log10(np.mean(densities, axis=0)[band])
    # Each octave counts the same, although the higher ones have more bins.
    slope, _ = np.polyfit(octaves, level_db, 1, w=1 / np.sqrt(frequency[band]))
    assert slope == pytest.approx(slope_db, abs=0.15)


def test_pink_noise_has_nothing_below_hearing() -> None:
    clip = tones(1_000, length=60 * RATE)
    noise = degrade(clip, "pink-0db", seed=0).astype(np.float64) - clip
    frequency, density = signal.welch(noise, RATE, nperseg=16 * RATE)
    below, above = ((frequency > low) & (frequency < high) for low, high in ((0.2, 19), (21, 40)))
    assert density[below].max() < 1e-3 * density[above].mean()


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
def test_noise_is_the_same_at_every_snr(kind: str, voice: Signal, crowd: list[Signal]) -> None:
    loud, soft = (degrade(voice, f"{kind}-{snr}db", seed=8, babble=crowd).astype(np.float64) - voice for snr in (0, 20))
    np.testing.assert_allclose(loud, 10 * soft, atol=1e-5)


def test_babble_is_all_clips_at_equal_power(voice: Signal) -> None:
    frequencies = (200, 400, 600, 800, 1_000, 1_200, 1_400)
    # Whole periods, so that looped tones stay tones; their levels lie 40 dB apart.
    clips = [10.0 ** (-index / 3) * tones(frequency, length=1_600) for index, frequency in enumerate(frequencies)]
    clean = voice[:RATE]
    noise = degrade(clean, "babble-0db", seed=0, babble=clips) - clean
    levels = [level_at_db(noise, frequency) for frequency in frequencies]
    assert np.ptp(levels) < 0.05
    tone_power = 2 * sum(10 ** (level / 10) for level in levels) / RATE**2
    assert tone_power == pytest.approx(power(noise), rel=1e-3)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_babble_needs_clips(count: int, voice: Signal, crowd: list[Signal]) -> None:
    with pytest.raises(ParameterError, match=f"6 clips or more, got {count}"):
        degrade(voice, "babble-5db", seed=0, babble=crowd[:count])


def test_silent_babble_clip_is_refused(voice: Signal, crowd: list[Signal]) -> None:
    with pytest.raises(AudioError, match="silent"):
        degrade(voice, "babble-5db", seed=0, babble=[*crowd, np.zeros(16_000, np.float32)])


def test_babble_of_pauses_is_refused(voice: Signal) -> None:
    clip = np.zeros(60 * RATE, np.float32)
    clip[:1_600] = voice[:1_600]
    with pytest.raises(ParameterError, match="pauses"):
        degrade(voice[:1_600], "babble-5db", seed=0, babble=[clip] * 6)


# The choice of babble


SPEAKERS = st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=7, max_size=60)


@settings(deadline=None)
@given(speakers=SPEAKERS, data=st.data(), seed=st.integers(0, 2**40), count=st.integers(6, 12))
def test_babble_comes_from_others(speakers: list[str], data: st.DataObject, seed: int, count: int) -> None:
    row = data.draw(st.integers(0, len(speakers) - 1))
    names = np.array(speakers)
    own = speakers[row]
    others = np.flatnonzero((names != own) | (names == ""))
    others = others[others != row]
    if len(others) < 6:
        with pytest.raises(ParameterError, match=f"only {len(others)} clips"):
            babble_for(names, row, seed=seed, count=count)
        return
    chosen = babble_for(names, row, seed=seed, count=count)
    np.testing.assert_array_equal(chosen, babble_for(np.array(speakers, dtype=object), row, seed=seed, count=count))
    assert chosen.dtype == np.intp
    assert len(set(chosen)) == len(chosen) == min(count, len(others))
    assert set(chosen) <= set(others)
    if own:
        sure = np.count_nonzero((names != own) & (names != ""))
        assert np.count_nonzero(names[chosen] != "") == min(sure, len(chosen))


def test_babble_comes_from_many_speakers() -> None:
    speakers = np.repeat(["a", "b", "c", "d", "e"], [10, 1, 500, 2, 2])
    for seed in range(30):
        found = speakers[babble_for(speakers, 0, seed=seed)]
        assert set(found) == {"b", "c", "d", "e"}
        assert np.count_nonzero(found == "d") == np.count_nonzero(found == "e") == 2


def test_babble_differs_from_row_to_row() -> None:
    speakers = np.array([f"s{number}" for number in range(200)])
    choices = {tuple(babble_for(speakers, row, seed=seed)) for row in range(20) for seed in range(5)}
    assert len(choices) == 100
    counts = np.bincount(np.concatenate([babble_for(speakers, row, seed=0) for row in range(200)]), minlength=200)
    assert counts.max() < 30  # nobody is in every crowd


@pytest.mark.parametrize(("row", "seed", "count"), [(-1, 0, 8), (9, 0, 8), (0, -1, 8), (0, 0, 5)])
def test_babble_parameters(row: int, seed: int, count: int) -> None:
    with pytest.raises(ParameterError, match="cannot choose"):
        babble_for(np.array(list("abcdefghi")), row, seed=seed, count=count)
