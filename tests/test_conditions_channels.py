"""Rooms, lines and codecs among the conditions: measured on what comes out, with textbook methods."""

from __future__ import annotations

from pathlib import Path

import av
import measuring
import numpy as np
import pytest
import sound_files
from measuring import RATE, Signal, level_at_db, of_group, power, snr_db, tones
from scipy import signal

from emovox.evaluation import degradations
from emovox.evaluation.conditions import CONDITIONS, degrade


@pytest.fixture(scope="module")
def recordings(corpora_dir: Path) -> list[Signal]:
    return measuring.real_recordings(corpora_dir)


@pytest.mark.parametrize("name", of_group("reverberation"))
@pytest.mark.parametrize("seed", range(5))
def test_reverberation_time(name: str, seed: int) -> None:
    click = np.zeros(2 * RATE, np.float32)
    click[100] = 1
    response = degrade(click, name, seed=seed)
    assert np.argmax(np.abs(response)) == 100
    assert np.abs(response[:100]).max() < 1e-6
    response = response[100:].astype(np.float64)
    assert power(response) * len(response) == pytest.approx(1, rel=1e-3)  # the level is kept
    # Schroeder's backward integration; T30 as in ISO 3382: from -5 to -35 dB.
    decay_db = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] + 1e-30)
    decay_db -= decay_db[0]
    part = np.flatnonzero((decay_db <= -5) & (decay_db >= -35))
    slope, _ = np.polyfit(part / RATE, decay_db[part], 1)
    wanted = float(CONDITIONS[name].level.split()[1])
    assert -60 / slope == pytest.approx(wanted, rel=0.15)
    # Direct to reverberant energy: that of a diffuse field, 1 m from the talker in 100 cubic metres.
    ratio_db = 10 * np.log10(response[0] ** 2 / np.sum(response[1:] ** 2))
    assert ratio_db == pytest.approx(20 * np.log10(0.057 * np.sqrt(100 / wanted)), abs=0.05)


@pytest.mark.parametrize("name", of_group("reverberation"))
def test_reverberation_keeps_level_and_time(name: str, recordings: list[Signal]) -> None:
    for number, recording in enumerate(recordings):
        wet = degrade(recording, name, seed=number)
        assert power(wet) == pytest.approx(power(recording), rel=1e-3)
        # The direct path is the strongest one: found by the phase transform (GCC-PHAT).
        size = 2 * len(wet)
        cross = np.fft.rfft(wet, size) * np.conj(np.fft.rfft(recording, size))
        assert np.argmax(np.fft.irfft(cross / (np.abs(cross) + 1e-12))) == 0


def test_telephone_band() -> None:
    kept, lost = (300, 400, 1_000, 2_000, 3_000, 3_400), (50, 120, 200, 3_600, 3_900, 4_600, 6_000, 7_500)
    multitone = tones(*kept, *lost, length=2 * RATE)
    line = degrade(multitone, "telephone", seed=0)
    for frequency in kept:
        assert level_at_db(line, frequency) == pytest.approx(level_at_db(multitone, frequency), abs=0.5)
    for frequency in lost:
        assert level_at_db(line, frequency) < level_at_db(multitone, frequency) - 40


@pytest.mark.parametrize("gain", [1e-2, 1, 100])
def test_telephone_compands(gain: float) -> None:
    tone = gain * tones(1_003, length=2 * RATE)
    middle = slice(2_000, -2_000)
    line = degrade(tone, "telephone", seed=0)
    assert sound_files.lag(line, tone) == 0
    # The ratio of signal to distortion of mu-law: 38 dB at most, at any level of the recording (13 linear bits: 70 dB).
    assert 33 < snr_db(tone[middle], line[middle]) < 39


def test_telephone_is_mu_law_of_ffmpeg() -> None:
    # Fading by 60 dB, so that the steps of mu-law and of A-law do not coincide.
    tone = (tones(700, 1_100) * 10 ** (-3 * np.arange(RATE) / RATE)).astype(np.float32)
    line = degrade(tone, "telephone", seed=0)
    scale = np.sqrt(power(tone)) / 10 ** (-26 / 20)
    narrow = np.round(32_767 * tone[::2] / scale).astype(np.int16)  # both tones lie in the band, so nothing is filtered
    encoder, decoder = av.CodecContext.create("pcm_mulaw", "w"), av.CodecContext.create("pcm_mulaw", "r")
    for codec in (encoder, decoder):
        codec.sample_rate, codec.layout, codec.format = 8_000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(narrow[None], format="s16", layout="mono")
    frame.sample_rate = 8_000
    packets = encoder.encode(frame)
    coded = np.concatenate([part.to_ndarray()[0] for packet in packets for part in decoder.decode(packet)])
    reference = signal.resample_poly(coded / 32_768 * scale, 2, 1)
    # What mu-law adds is the same, not only as loud.
    part = slice(2_000, 5_000)
    errors = (line - tone)[part], (reference - tone)[part]
    assert np.corrcoef(*errors)[0, 1] > 0.8
    assert power(errors[0]) == pytest.approx(power(errors[1]), rel=0.1)


@pytest.mark.parametrize("name", of_group("opus"))
def test_opus_is_aligned(name: str, recordings: list[Signal]) -> None:
    for recording in recordings:
        found = degrade(recording, name, seed=0)
        # The codec's delay is 104 samples; a high-pass for speech turns the phase of low tones by a few.
        assert abs(sound_files.lag(found, recording)) <= 5
        assert sound_files.correlation(found, recording) > {"opus-6kbit": 0.3, "opus-12kbit": 0.85}[name]


def test_opus_bandwidth(recordings: list[Signal]) -> None:
    for name, limit_hz in (("opus-6kbit", 4_000), ("opus-12kbit", 8_000)):
        frequency, density = signal.welch(degrade(recordings[1], name, seed=0), RATE)
        above = density[frequency > limit_hz + 300].max(initial=0)
        assert above < 1e-4 * density.max()
        assert density[(frequency > limit_hz - 1_000) & (frequency < limit_hz)].max() > 1e-6 * density.max()


@pytest.mark.parametrize("bit_rate", [6_000, 12_000])
def test_opus_bit_rate(bit_rate: int, recordings: list[Signal]) -> None:
    file = degradations.encode_opus(recordings[0], bit_rate=bit_rate)
    with av.open(file) as container:
        sizes = [packet.size for packet in container.demux() if packet.size]
    assert len(sizes) == pytest.approx(len(recordings[0]) / 320, abs=2)
    assert {size * 8 * 50 for size in sizes} == {bit_rate}


@pytest.mark.parametrize(("name", "share"), [("clipping-10pct", 0.10), ("clipping-25pct", 0.25)])
def test_clipped_share(name: str, share: float, recordings: list[Signal]) -> None:
    for recording in recordings:
        clipped = degrade(recording, name, seed=0)
        threshold = np.abs(clipped).max()
        sounding = np.count_nonzero(recording)
        # Recordings have 16 bits, so that many samples share a value: the share lies between those below and above.
        assert np.count_nonzero(np.abs(clipped) == threshold) >= share * sounding
        assert np.count_nonzero(np.abs(recording) > threshold) < share * sounding
        inside = np.abs(recording) < threshold
        np.testing.assert_array_equal(clipped[inside], recording[inside])
        np.testing.assert_array_equal(np.sign(clipped), np.sign(recording))


def test_padding_does_not_move_the_clipping_threshold(voice: Signal) -> None:
    padded = np.concatenate([np.zeros(10 * len(voice), np.float32), voice])
    alone, inside = degrade(voice, "clipping-25pct", seed=0), degrade(padded, "clipping-25pct", seed=0)
    np.testing.assert_array_equal(inside[-len(voice) :], alone)


def test_gain(voice: Signal) -> None:
    np.testing.assert_allclose(degrade(voice, "gain-minus-20db", seed=0), voice / 10, rtol=1e-6)
    loud = degrade(voice, "gain-plus-20db", seed=0)
    np.testing.assert_allclose(loud, np.clip(10 * voice, -1, 1), rtol=1e-6)
    assert loud.max() == 1


def test_halved_rate() -> None:
    mixture = tones(100, 1_000, 3_500, 4_300, 7_200, length=2 * RATE)
    narrow = degrade(mixture, "rate-8khz", seed=0)
    for frequency in (100, 1_000, 3_500):
        assert level_at_db(narrow, frequency) == pytest.approx(level_at_db(mixture, frequency), abs=0.1)
    for frequency in (4_300, 7_200, 3_700, 800):  # the last two: no aliases of the first two
        assert level_at_db(narrow, frequency) < level_at_db(mixture, 1_000) - 60
