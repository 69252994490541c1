"""Feature sets against librosa, on real recordings and on sounds that are hard to get right."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

import emovox.features.classic as classic_module
from emovox import audio
from emovox.errors import FeatureError
from emovox.features import FEATURE_SETS, FeatureSet, feature_set
from emovox.features.chroma import NO_TUNING, chroma_filters, spectral_peaks, tuning_bin
from emovox.features.classic import CLASSIC_NAMES, CLASSIC_SIZE, classic
from emovox.features.logmel import logmel
from emovox.features.mel import hz_to_mel, mel_filterbank, mel_to_hz

Floats = npt.NDArray[np.float32]

GROUPS = {"mfcc": slice(0, 40), "chroma": slice(40, 52), "mel": slice(52, 180)}
TOLERANCE = 1e-3
"""Largest difference that is allowed, relative to the range of a group of features."""

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=", "ignore:Empty filters", "ignore:Trying to estimate tuning")


def recipe(samples: Floats, rate: int) -> Floats:
    """The reference study's own code."""
    magnitude = np.abs(librosa.stft(samples))
    mfcc = np.mean(librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=40).T, axis=0)
    chroma = np.mean(librosa.feature.chroma_stft(S=magnitude, sr=rate).T, axis=0)
    mel = np.mean(librosa.feature.melspectrogram(y=samples, sr=rate).T, axis=0)
    return np.concatenate([mfcc, chroma, mel])


def assert_like_librosa(samples: Floats, rate: int) -> None:
    ours, theirs = classic(samples, rate), recipe(samples, rate)
    assert ours.shape == (CLASSIC_SIZE,)
    assert ours.dtype == np.float32
    for name, part in GROUPS.items():
        spread = np.ptp(theirs[part])
        assert np.abs(ours[part] - theirs[part]).max() <= TOLERANCE * spread + 1e-12, name


@pytest.fixture(scope="module")
def clips(corpora_dir: Path) -> list[audio.Waveform]:
    """Sixty recordings from all speakers' folders of the three corpora."""
    files = list(audio.find_audio([corpora_dir]))
    return [audio.load(file, rate=None) for file in files[:: len(files) // 60][:60]]


class TestClassicOnRecordings:
    def test_equals_librosa_at_the_files_own_rate(self, clips: list[audio.Waveform]) -> None:
        assert len(clips) == 60
        for clip in clips:
            assert_like_librosa(clip.samples, clip.rate)

    @pytest.mark.parametrize("rate", [8_000, 22_050, 24_414, 44_100, 48_000])
    def test_equals_librosa_at_other_rates(self, clips: list[audio.Waveform], rate: int) -> None:
        for clip in clips[::10]:
            assert_like_librosa(soxr.resample(clip.samples, clip.rate, rate), rate)

    @pytest.mark.parametrize("bits", [8, 6])
    def test_equals_librosa_on_coarse_samples_with_digital_silence(
        self, clips: list[audio.Waveform], bits: int
    ) -> None:
        for clip in clips[::10]:
            coarse = np.round(clip.samples / np.abs(clip.samples).max() * 2**bits) / np.float32(2**bits)
            assert_like_librosa(coarse, clip.rate)

    @pytest.mark.parametrize("rate", [16_000, 48_000])
    def test_finds_the_very_tuning_of_librosa(self, clips: list[audio.Waveform], rate: int) -> None:
        edges = np.linspace(-0.5, 0.5, 101)
        found = set()
        for clip in clips[::2]:
            samples = soxr.resample(clip.samples, clip.rate, rate)
            magnitude = np.abs(librosa.stft(samples))
            ours = tuning_bin([spectral_peaks(np.ascontiguousarray(magnitude.T), rate)])
            assert edges[ours] == librosa.estimate_tuning(S=magnitude, sr=rate)
            found.add(ours)
        assert len(found) > 5  # or the test would not tell a constant from an estimate

    def test_finds_the_very_peaks_of_librosa(self, clips: list[audio.Waveform]) -> None:
        for clip in clips[::10]:
            magnitude = np.abs(librosa.stft(clip.samples))
            pitch, strength = spectral_peaks(np.ascontiguousarray(magnitude.T), clip.rate)
            pitches, strengths = librosa.piptrack(S=magnitude, sr=clip.rate)
            theirs = pitches.T > 0
            np.testing.assert_array_equal(pitch, pitches.T[theirs])
            np.testing.assert_array_equal(strength, strengths.T[theirs])

    def test_spectrum_is_that_of_librosa_to_the_last_bit(self, clips: list[audio.Waveform]) -> None:
        for clip in clips[::10]:
            theirs = np.abs(librosa.stft(clip.samples)).T
            ours = classic_module._magnitude_spectrogram(clip.samples, range(len(theirs)))
            np.testing.assert_array_equal(ours, theirs)

    def test_long_recordings_are_worked_on_in_chunks(
        self, clips: list[audio.Waveform], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = classic(clips[0].samples, clips[0].rate)
        monkeypatch.setattr(classic_module, "CHUNK_FRAMES", 7)
        np.testing.assert_allclose(classic(clips[0].samples, clips[0].rate), whole, rtol=1e-5, atol=1e-7)

    def test_threads_do_not_disturb_each_other(self, clips: list[audio.Waveform]) -> None:
        alone = [classic(clip.samples, clip.rate) for clip in clips]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda clip: classic(clip.samples, clip.rate), clips))
        np.testing.assert_array_equal(together, alone)


class TestClassicOnHardSounds:
    # 511 and 512 differ by a frame; 1,536 and 2,048 are where librosa changes how it pads.
    @pytest.mark.parametrize("length", [1, 100, 511, 512, 1023, 1024, 1535, 1536, 2047, 2048, 2049, 8191, 8192])
    def test_clips_around_the_length_of_a_window(self, voice: Floats, length: int) -> None:
        assert_like_librosa(voice[:length], 16_000)

    @pytest.mark.parametrize("rate", [2_000, 4_000, 8_000, 11_025, 96_000])
    def test_rates_at_which_the_pitch_range_or_the_filters_do_not_fit(self, voice: Floats, rate: int) -> None:
        assert_like_librosa(voice, rate)

    @pytest.mark.parametrize("gain", [1e-4, 1e-2, 1.0, 1e3])
    def test_levels(self, voice: Floats, gain: float) -> None:
        assert_like_librosa(np.float32(gain) * voice, 16_000)

    @pytest.mark.parametrize(
        "sound",
        [
            pytest.param(lambda time: np.sin(2 * np.pi * 440 * time), id="tone on the scale"),
            pytest.param(lambda time: np.sin(2 * np.pi * 452.9 * time), id="tone between two notes"),
            pytest.param(lambda time: (time == time[5_000]).astype(float), id="click"),
            pytest.param(lambda time: np.random.default_rng(1).normal(size=time.size), id="noise"),
            pytest.param(lambda time: np.ones_like(time), id="constant"),
            pytest.param(lambda time: np.sign(np.sin(2 * np.pi * 220 * time)), id="square wave"),
            pytest.param(lambda time: np.where(time < 0.5, 0, np.sin(2 * np.pi * 300 * time)), id="silence first"),
            pytest.param(lambda time: np.zeros_like(time), id="silence"),
        ],
    )
    def test_sounds_made_by_formula(self, sound: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> None:
        assert_like_librosa(sound(np.arange(16_000) / 16_000).astype(np.float32), 16_000)

    @settings(deadline=None, max_examples=40)
    @given(
        seed=st.integers(0, 2**32 - 1),
        length=st.integers(1, 12_000),
        rate=st.sampled_from([8_000, 16_000, 22_050, 48_000]),
        tone=st.floats(60, 3_900),
        noise=st.floats(1e-4, 1),
    )
    def test_any_tone_in_any_noise(self, seed: int, length: int, rate: int, tone: float, noise: float) -> None:
        time = np.arange(length) / rate
        sound = np.sin(2 * np.pi * tone * time) + noise * np.random.default_rng(seed).normal(size=length)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_like_librosa((0.3 * sound).astype(np.float32), rate)

    @settings(deadline=None, max_examples=25)
    @given(gain=st.floats(1e-2, 10), length=st.integers(1, 20_000))
    def test_gain_changes_the_mel_bands_by_its_square_and_chroma_not_at_all(self, gain: float, length: int) -> None:
        sound = np.random.default_rng(length).normal(size=length).astype(np.float32)
        plain, louder = classic(sound, 16_000), classic(np.float32(gain) * sound, 16_000)
        np.testing.assert_allclose(louder[GROUPS["mel"]], gain**2 * plain[GROUPS["mel"]], rtol=1e-3)
        chroma = louder[GROUPS["chroma"]]
        assert chroma.min() >= 0
        assert chroma.max() <= 1 + 1e-6

    @pytest.mark.parametrize("shape", [(0,), (100, 2), ()])
    def test_refuses_what_is_not_one_channel(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(FeatureError, match="one channel"):
            classic(np.zeros(shape, np.float32), 16_000)


class TestFilters:
    @pytest.mark.parametrize(
        ("rate", "n_fft", "n_mels"), [(16_000, 2048, 128), (48_000, 2048, 128), (24_414, 2048, 128), (16_000, 400, 80)]
    )
    def test_mel_filters_are_those_of_librosa(self, rate: int, n_fft: int, n_mels: int) -> None:
        theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels)
        ours = mel_filterbank(rate, n_fft, n_mels=n_mels)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-9)

    def test_mel_filters_between_given_edges(self) -> None:
        theirs = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=40, fmin=60, fmax=7_600)
        np.testing.assert_allclose(
            mel_filterbank(16_000, 512, n_mels=40, f_min=60, f_max=7_600), theirs, rtol=1e-5, atol=1e-9
        )

    @given(st.floats(0, 100_000))
    def test_mel_and_hz_are_inverse(self, frequency: float) -> None:
        assert float(mel_to_hz(hz_to_mel(frequency))) == pytest.approx(frequency, rel=1e-9, abs=1e-9)

    @pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
    def test_chroma_filters_are_those_of_librosa_for_every_tuning(self, rate: int) -> None:
        for number, tuning in enumerate(np.linspace(-0.5, 0.5, 101)[:-1]):
            theirs = librosa.filters.chroma(sr=rate, n_fft=2048, tuning=tuning)
            np.testing.assert_allclose(chroma_filters(rate, 2048, number), theirs, rtol=1e-5, atol=1e-9)

    def test_cached_filters_cannot_be_changed(self) -> None:
        for filters in (mel_filterbank(16_000, 2048), chroma_filters(16_000, 2048)):
            with pytest.raises(ValueError, match="read-only"):
                filters[0, 0] = 1

    def test_tuning_without_peaks_is_none(self) -> None:
        assert tuning_bin([spectral_peaks(np.zeros((5, 1025), np.float32), 16_000)]) == NO_TUNING

    @given(st.floats(-0.499, 0.499))
    def test_tuning_of_notes_that_are_all_off_by_the_same(self, deviation: float) -> None:
        notes = 440 * 2 ** ((np.arange(-12, 12) + deviation) / 12)
        found = tuning_bin([(notes.astype(np.float32), np.ones(24, np.float32))])
        assert abs((found + 0.5) / 100 - 0.5 - deviation) <= 0.0051


class TestLogmel:
    @staticmethod
    def whisper(samples: Floats) -> Floats:
        """Whisper's formula on librosa's mel spectrogram."""
        power = librosa.feature.melspectrogram(
            y=samples, sr=16_000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect"
        )[:, :-1]
        log = np.log10(np.maximum(power, 1e-10))
        return ((np.maximum(log, log.max() - 8) + 4) / 4).T

    def test_equals_the_formula_on_recordings(self, clips: list[audio.Waveform]) -> None:
        for clip in clips[::5]:
            ours = logmel(clip.samples)
            assert ours.shape == (len(clip.samples) // 160, 80)
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, self.whisper(clip.samples), atol=1e-4)

    @pytest.mark.parametrize("length", [400, 401, 1_600, 63 * 160, 64 * 160, 65 * 160 + 159, 32_000])
    def test_equals_the_formula_at_any_length(self, voice: Floats, length: int) -> None:
        np.testing.assert_allclose(logmel(voice[:length]), self.whisper(voice[:length]), atol=1e-4)

    def test_is_what_the_network_hears(self, voice: Floats) -> None:
        torch = pytest.importorskip("torch")
        from emovox.models.whisper import LogMelFrontEnd

        loudest = (voice / np.abs(voice).max()).astype(np.float32)
        heard = LogMelFrontEnd()(torch.from_numpy(loudest)[None])[0].numpy()
        np.testing.assert_allclose(logmel(loudest), heard.T, atol=1e-3)

    def test_spans_at_most_eight_decades(self) -> None:
        sound = np.zeros(16_000, np.float32)
        sound[8_000] = 1
        values = logmel(sound)
        assert values.max() - values.min() == pytest.approx(2.0)

    def test_silence_is_finite(self) -> None:
        np.testing.assert_allclose(logmel(np.zeros(1_600, np.float32)), np.full((10, 80), -1.5), rtol=1e-6)

    def test_refuses_another_rate(self) -> None:
        with pytest.raises(FeatureError, match="8000 Hz"):
            logmel(np.zeros(1_000, np.float32), 8_000)

    @pytest.mark.parametrize("shape", [(0,), (159,), (1_000, 2)])
    def test_refuses_less_than_a_frame(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(FeatureError, match="one channel of 160 samples"):
            logmel(np.zeros(shape, np.float32))


class TestSets:
    @pytest.mark.parametrize("wanted", FEATURE_SETS.values(), ids=lambda wanted: wanted.name)
    def test_every_set_gives_what_it_says(self, wanted: FeatureSet, voice: Floats) -> None:
        values = wanted.function(voice, wanted.rate or 16_000)
        assert wanted.fits(values)
        assert FEATURE_SETS[wanted.name] is wanted
        assert len(set(wanted.names)) == wanted.size == values.shape[-1]
        assert wanted.per_clip == (values.ndim == 1)

    def test_does_not_take_anything_for_its_result(self) -> None:
        wanted = feature_set("classic")
        good = np.zeros(180, np.float32)
        assert wanted.fits(good)
        assert not wanted.fits(good[:179])
        assert not wanted.fits(good.astype(np.float64))
        assert not wanted.fits(np.full(180, np.nan, np.float32))
        assert not feature_set("logmel").fits(np.zeros(80, np.float32))

    def test_names_follow_the_order_of_the_numbers(self) -> None:
        assert (CLASSIC_NAMES[0], CLASSIC_NAMES[39]) == ("mfcc_1", "mfcc_40")
        assert (CLASSIC_NAMES[40], CLASSIC_NAMES[51], CLASSIC_NAMES[52]) == ("chroma_C", "chroma_B", "mel_1")

    def test_unknown_set(self) -> None:
        with pytest.raises(
            FeatureError, match=r"no feature set 'mfcc'. There are: classic, egemaps, compare, logmel"
        ) as caught:
            feature_set("mfcc")
        assert caught.value.code == "bad_features"
