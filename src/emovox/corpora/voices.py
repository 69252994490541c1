"""Voices that nobody has: speech-like sound from a glottal source and formant filters.

A voice is a train of glottal pulses (D. H. Klatt and L. C. Klatt, "Analysis, synthesis, and perception of voice quality
variations among female and male talkers", JASA 87, 1990), shaped by a cascade of formant resonators (D. H. Klatt,
"Software for a cascade/parallel formant synthesizer", JASA 67, 1980). Emotion moves pitch, tempo, energy and voice
quality in the directions that K. R. Scherer gives ("Vocal communication of emotion", Speech Communication 40, 2003).
Good for tests and demonstrations; it says nothing about people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

RATE = 16_000
HOP = 160
_FFT = 1_024
_SILENCE_S = 0.15
_SYLLABLE_S = 0.19

Array = npt.NDArray[np.float64]

SENTENCES = (
    ("ma", "no", "li", "se", "ta", "nu"),
    ("ka", "li", "mo", "na", "fe", "lu", "ma"),
    ("so", "ma", "ti", "la", "ne"),
    ("le", "na", "ku", "mi", "so", "la"),
    ("ta", "mu", "se", "li", "no"),
    ("ni", "fo", "la", "me", "ku", "sa", "li"),
    ("mo", "ti", "na", "lu", "fe", "ma"),
    ("la", "su", "ne", "ko", "mi"),
)
"""Texts, a syllable an item: nonsense in no language."""

_VOWELS: Mapping[str, tuple[float, float, float]] = {
    "a": (730, 1_250, 2_500),
    "e": (480, 1_900, 2_550),
    "i": (290, 2_250, 2_950),
    "o": (480, 880, 2_450),
    "u": (320, 820, 2_300),
}
"""Formants of a male voice in Hz."""
_MURMURS: Mapping[str, tuple[float, float, float]] = {
    "m": (260, 1_100, 2_200),
    "n": (270, 1_600, 2_500),
    "l": (360, 1_250, 2_700),
}
"""Voiced consonants: formants of the murmur, in Hz."""
_HISSES: Mapping[str, tuple[float, float, float]] = {
    "s": (5_800, 1_500, 0.30),
    "f": (4_200, 3_000, 0.10),
    "t": (4_000, 1_800, 0.45),
    "k": (1_900, 900, 0.45),
}
"""Unvoiced consonants: centre and width of the noise in Hz, and its level; t and k begin with a closure."""
_BANDWIDTHS = (70.0, 95.0, 130.0, 220.0, 300.0)
_HIGHER_FORMANTS = (3_500.0, 4_500.0)


@dataclass(frozen=True)
class Voice:
    """A speaker.

    Attributes:
        pitch_hz: mean fundamental frequency of neutral speech.
        tract: factor on all formants; about 1 for men, 1.17 for women.
        tempo: factor on the speed.
        level_db: how loud, relative to other speakers.
        breath: level of the noise in the voice, relative to its pulses.
    """

    pitch_hz: float
    tract: float
    tempo: float
    level_db: float
    breath: float


@dataclass(frozen=True)
class Manner:
    """How something is said.

    Attributes:
        pitch: factor on the voice's mean pitch.
        range_st: size of the pitch movements, in semitones.
        slope_st: rise (or fall, if negative) of the pitch from beginning to end, in semitones.
        tempo: factor on the speed.
        level_db: energy relative to neutral.
        open_quotient: share of a glottal cycle with open glottis: low is tense, high is breathy or lax.
        tilt_hz: above this frequency the source falls off by another 6 dB an octave.
        breath: factor on the noise in the voice.
        jitter: random share by which the pitch wavers from frame to frame.
        second_formant: factor on the second formant: above 1 for spread lips.
    """

    pitch: float = 1.0
    range_st: float = 2.0
    slope_st: float = -2.0
    tempo: float = 1.0
    level_db: float = 0.0
    open_quotient: float = 0.6
    tilt_hz: float = 2_000.0
    breath: float = 1.0
    jitter: float = 0.006
    second_formant: float = 1.0


MANNERS: Mapping[str, Manner] = {
    # pitch, range, slope, tempo, level, open quotient, tilt, breath, jitter, second formant
    "angry": Manner(1.30, 5.0, -4.0, 1.15, 8.0, 0.42, 4_500.0, 0.6, 0.014, 1.00),
    "disgust": Manner(0.90, 2.5, -3.5, 0.80, 1.0, 0.52, 1_800.0, 1.6, 0.016, 0.92),
    "fear": Manner(1.55, 2.5, 1.0, 1.30, 1.0, 0.66, 2_600.0, 2.6, 0.022, 1.02),
    "happy": Manner(1.40, 6.0, 0.5, 1.10, 5.0, 0.55, 3_200.0, 0.9, 0.006, 1.07),
    "neutral": Manner(),
    "sad": Manner(0.88, 1.0, -2.0, 0.76, -7.0, 0.76, 900.0, 2.2, 0.008, 0.97),
    "surprise": Manner(1.60, 5.0, 8.0, 1.05, 4.0, 0.58, 2_800.0, 1.1, 0.006, 1.03),
}
"""How each emotion is said, on average."""


def speaker(rng: np.random.Generator, *, female: bool) -> Voice:
    """Draw a voice."""
    return Voice(
        pitch_hz=float(rng.uniform(175, 235) if female else rng.uniform(90, 135)),
        tract=float(rng.uniform(1.12, 1.22) if female else rng.uniform(0.95, 1.05)),
        tempo=float(rng.uniform(0.92, 1.08)),
        level_db=float(rng.uniform(-3, 3)),
        breath=float(rng.uniform(0.03, 0.06)),
    )


def vary(manner: Manner, rng: np.random.Generator) -> Manner:
    """Draw one take: nobody says a thing twice in the same way."""
    spread = rng.normal(size=7)
    return replace(
        manner,
        pitch=manner.pitch * float(np.exp(0.07 * spread[0])),
        range_st=manner.range_st * float(np.exp(0.20 * spread[1])),
        slope_st=manner.slope_st + float(0.7 * spread[2]),
        tempo=manner.tempo * float(np.exp(0.05 * spread[3])),
        level_db=manner.level_db + float(1.5 * spread[4]),
        open_quotient=float(np.clip(manner.open_quotient + 0.03 * spread[5], 0.35, 0.85)),
        tilt_hz=manner.tilt_hz * float(np.exp(0.10 * spread[6])),
    )


def say(sentence: tuple[str, ...], voice: Voice, manner: Manner, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Synthesise an utterance.

    Args:
        sentence: syllables such as ``("ma", "no")``: a consonant of m n l s f t k and a vowel.
        voice: who speaks.
        manner: how.
        rng: draws the noise.

    Returns:
        float32 of shape (n,) at `RATE`, magnitudes below 1.
    """
    voicing, formants, hiss = _score(sentence, voice, manner)
    pulses = _glottis(_pitch(len(voicing), voice, manner, rng), np.repeat(voicing, HOP), voice, manner, rng)
    noise = rng.normal(size=len(pulses))
    sound = _filter(pulses, noise, _tract(formants, manner), hiss)
    loudness = 0.05 * 10 ** ((voice.level_db + manner.level_db) / 20)
    sound *= loudness / np.sqrt(np.mean(sound**2))
    sound += 1e-4 * rng.normal(size=len(sound))
    return np.asarray(sound / max(1.0, np.abs(sound).max() / 0.98), dtype=np.float32)


def _score(sentence: tuple[str, ...], voice: Voice, manner: Manner) -> tuple[Array, Array, Array]:
    """What is to be heard in every frame: voicing (n,), formants in Hz (n, 3), hiss: centre, width and level (n, 3)."""
    frames_a_syllable = _SYLLABLE_S * RATE / HOP / (voice.tempo * manner.tempo)
    voicing: list[float] = []
    formants: list[tuple[float, float, float]] = []
    hiss: list[tuple[float, float, float]] = []

    def hold(frames: int, level: float, shape: tuple[float, float, float], noise: tuple[float, float, float]) -> None:
        voicing.extend([level] * frames)
        formants.extend([shape] * frames)
        hiss.extend([noise] * frames)

    quiet = (3_000.0, 1_000.0, 0.0)
    pause = round(_SILENCE_S * RATE / HOP)
    hold(pause, 0.0, _VOWELS[sentence[0][1]], quiet)
    for number, syllable in enumerate(sentence):
        consonant, vowel = syllable[0], syllable[1]
        last = number == len(sentence) - 1
        length = round(frames_a_syllable * (1.5 if last else 1.0))
        onset = round(length * 0.35)
        if consonant in _MURMURS:
            hold(onset, 0.45, _MURMURS[consonant], quiet)
        else:
            closure = onset // 2 if consonant in "tk" else 0
            hold(closure, 0.0, _VOWELS[vowel], quiet)
            hold(onset - closure, 0.0, _VOWELS[vowel], _HISSES[consonant])
        hold(length - onset, 1.0, _VOWELS[vowel], quiet)
    hold(pause, 0.0, _VOWELS[sentence[-1][1]], quiet)
    shapes = _smooth(np.array(formants)) * voice.tract
    shapes[:, 1] *= manner.second_formant
    noises = np.array(hiss)
    noises[:, 2] = _smooth(noises[:, 2])
    return _smooth(np.array(voicing)), shapes, noises


def _smooth(tracks: Array) -> Array:
    """Moving average over 50 ms: what moves in the mouth has mass."""
    kernel = np.ones(5) / 5
    padded = np.pad(tracks, [(2, 2)] + [(0, 0)] * (tracks.ndim - 1), mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, kernel, mode="valid")


def _pitch(frames: int, voice: Voice, manner: Manner, rng: np.random.Generator) -> Array:
    """Fundamental frequency of every sample in Hz: slope, accents and a random waver."""
    time = np.linspace(0.0, 1.0, frames)
    accents = manner.range_st * np.sin(2 * np.pi * (2.5 * time + rng.uniform(0, 1))) * (1 - 0.4 * time)
    contour = accents + manner.slope_st * (time - 0.5)
    waver = 1 + manner.jitter * rng.normal(size=frames)
    pitch = voice.pitch_hz * manner.pitch * 2 ** (contour / 12) * waver
    return np.interp(np.arange(frames * HOP) / HOP, np.arange(frames), pitch)


def _glottis(pitch: Array, voicing: Array, voice: Voice, manner: Manner, rng: np.random.Generator) -> Array:
    """Derivative of the glottal flow: Klatt's t^2 - t^3 pulses, and breath noise while the glottis is open."""
    phase = np.cumsum(pitch) / RATE
    inside = (phase % 1.0) / manner.open_quotient
    is_open = inside < 1.0
    pulses = np.where(is_open, 2 * inside - 3 * inside**2, 0.0)
    shimmer = 1 + 4 * manner.jitter * rng.normal(size=int(phase[-1]) + 2)
    breath = voice.breath * manner.breath * rng.normal(size=len(pulses)) * (0.3 + 0.7 * is_open)
    return voicing * (pulses * shimmer[phase.astype(np.int64)] + breath)


def _tract(formants: Array, manner: Manner) -> npt.NDArray[np.complex128]:
    """Transfer function of source tilt and vocal tract for every frame: (n, bins)."""
    frequencies = np.fft.rfftfreq(_FFT, 1 / RATE)
    delay = np.exp(-2j * np.pi * frequencies / RATE)
    scale = formants[:, 2].mean() / 2_500
    tracks = [*formants.T, *(np.full(len(formants), hz * scale) for hz in _HIGHER_FORMANTS)]
    gain: Array = np.ones((len(formants), 1))
    poles = (1 + 1j * frequencies / manner.tilt_hz)[None, :]
    for centre, width in zip(tracks, _BANDWIDTHS, strict=True):
        decay = np.exp(-np.pi * width / RATE)
        first = 2 * decay * np.cos(2 * np.pi * np.minimum(centre, 7_500) / RATE)[:, None]
        second = -(decay**2)
        gain = gain * (1 - first - second)
        poles = poles * (1 - second * delay**2 - first * delay)
    response: npt.NDArray[np.complex128] = gain / poles
    return response


def _filter(pulses: Array, noise: Array, tract: npt.NDArray[np.complex128], hiss: Array) -> Array:
    """Shape pulses by the tract and noise by the hiss of each frame, and add the frames up again."""
    frames = len(tract)
    taper = np.hanning(2 * HOP + 1)[:-1]
    padded = np.pad(np.stack([pulses, noise]), [(0, 0), (HOP, HOP)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP, axis=1)[:, ::HOP][:, :frames] * taper
    spectra = np.fft.rfft(windows, _FFT)
    frequencies = np.fft.rfftfreq(_FFT, 1 / RATE)
    bands = hiss[:, 2:] * np.exp(-(((frequencies - hiss[:, :1]) / hiss[:, 1:2]) ** 2))
    pieces = np.fft.irfft(spectra[0] * tract + spectra[1] * bands, _FFT)
    blocks = -(-_FFT // HOP)
    pieces = np.pad(pieces, [(0, 0), (0, blocks * HOP - _FFT)]).reshape(frames, blocks, HOP)
    rows = np.zeros((frames + blocks, HOP))
    for block in range(blocks):
        rows[block : block + frames] += pieces[:, block]
    return rows.ravel()[HOP : HOP + frames * HOP]
