"""What is done to a recording, step by step, under the conditions of `emovox.evaluation.conditions`.

Everything takes and gives float32 of shape (n,) at 16 kHz, of the same length and in time with what it was made from.
Powers are means of squares over the whole clip, pauses included (not the active speech level of ITU-T P.56).
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from scipy.fft import next_fast_len
from scipy.signal import fftconvolve, firwin

from emovox import audio
from emovox.audio import MODEL_RATE, Samples
from emovox.errors import ParameterError

FEWEST_VOICES = 6
"""Fewer talkers than this are heard as single voices rather than as babble."""

ROOM_VOLUME_M3, TALKER_DISTANCE_M = 100.0, 1.0
"""Of the rooms: a living room or small classroom, and somebody who speaks into a device on the table."""

SPEECH_LEVEL_DBOV = -26.0
"""Level at which speech codecs are tested (ITU-T P.830 and G.191), relative to a full-scale square wave."""

NARROW_RATE = 8_000
"""Sample rate of telephony, in Hz."""

Noise = npt.NDArray[np.float64]


def add_noise(samples: Samples, noise: Noise, *, snr_db: float) -> Samples:
    """Add noise so that 10 log10(power of the clip / power of the noise) is `snr_db`. The clip keeps its level.

    Args:
        samples: the clip, shape (n,).
        noise: shape (n,), at any level.
        snr_db: in dB. The sum may exceed full scale; it is not clipped.
    """
    scale = math.sqrt(_power(samples) / _power(noise)) * 10 ** (-snr_db / 20)
    return (samples + scale * noise).astype(np.float32)


def white_noise(length: int, rng: np.random.Generator) -> Noise:
    """Gaussian noise of the same power density at all frequencies."""
    return rng.normal(size=length)


def pink_noise(length: int, rng: np.random.Generator) -> Noise:
    """Gaussian noise whose power density falls by 3 dB an octave (1/f) from 20 Hz to 8 kHz; nothing is below.

    White noise, shaped in the frequency domain. A second at least is made and cut, so that a short clip gets the same
    spectrum as a long one.
    """
    size = next_fast_len(max(length, MODEL_RATE), real=True)
    frequency = np.fft.rfftfreq(size, 1 / MODEL_RATE)
    audible = frequency >= 20
    spectrum = np.fft.rfft(rng.normal(size=size))
    spectrum[~audible] = 0
    spectrum[audible] /= np.sqrt(frequency[audible])
    return np.fft.irfft(spectrum, size)[:length]


def babble_noise(length: int, clips: Sequence[Samples], rng: np.random.Generator) -> Noise:
    """Sum of all `clips` at equal power, each looped from a random place on.

    Raises:
        ParameterError: if there are fewer than six clips.
        AudioError: if one of them cannot be used, as by `emovox.audio.from_array`.
    """
    if len(clips) < FEWEST_VOICES:
        raise ParameterError(
            f"babble is mixed from {FEWEST_VOICES} clips or more, got {len(clips)}",
            remedy="Give clips of other speakers as babble=; babble_for chooses them.",
        )
    crowd = np.zeros(length)
    for clip in clips:
        voice = audio.from_array(clip, source_rate=MODEL_RATE).samples.astype(np.float64)
        voice /= math.sqrt(_power(voice))
        crowd += np.resize(np.roll(voice, -int(rng.integers(len(voice)))), length)
    if not crowd.any():
        raise ParameterError(
            "the babble clips hold nothing but pauses where they are used", remedy="Give longer clips."
        )
    return crowd


def impulse_response(rt60_s: float, rng: np.random.Generator) -> Noise:
    """Make the response of a room: a direct path of amplitude 1 at sample 0, then exponentially decaying noise.

    Polack's model (J.-D. Polack, "La transmission de l'énergie sonore dans les salles", thesis, Le Mans 1988):
    Gaussian noise times 10^(-3 t / RT60), down to -60 dB. Direct and decaying part stand to each other as around a
    talker who radiates in all directions in a diffuse field (H. Kuttruff, "Room Acoustics"): their energies are equal
    at the distance 0.057 sqrt(volume / RT60), in metres, cubic metres and seconds, and the direct one falls with the
    square of the distance. At 1 m in 100 cubic metres it is +0.3, -2.7 and -4.9 dB for 0.3, 0.6 and 1 s.

    Args:
        rt60_s: time in which the sound decays by 60 dB, in seconds; the same at all frequencies.
        rng: draws the noise: each draw is another room.

    Returns:
        Shape (rt60_s * 16000,).
    """
    time = np.arange(round(rt60_s * MODEL_RATE)) / MODEL_RATE
    response = rng.normal(size=time.size) * 10 ** (-3 * time / rt60_s)
    response[0] = 0
    reverberation_distance_m = 0.057 * math.sqrt(ROOM_VOLUME_M3 / rt60_s)
    response *= TALKER_DISTANCE_M / reverberation_distance_m / np.sqrt(np.sum(response**2))
    response[0] = 1
    return response


def reverberate(samples: Samples, response: Noise) -> Samples:
    """Let a clip sound in a room; what rings on after its end is cut off, and its power stays the same."""
    wet = fftconvolve(samples.astype(np.float64), response)[: len(samples)]
    return (wet * math.sqrt(_power(samples) / _power(wet))).astype(np.float32)


def telephone(samples: Samples) -> Samples:
    """Send a clip through a digital telephone line: 8 kHz, 300 to 3,400 Hz, 8 bits of mu-law (ITU-T G.711).

    The filter is flat within 0.1 dB from 300 to 3,400 Hz and 55 dB down below 200 and from 3,500 Hz on, without delay.
    What leaves it is coded at -26 dBov, and has its former level afterwards.
    """
    narrow = soxr.resample(samples.astype(np.float64), MODEL_RATE, NARROW_RATE, quality="HQ")
    # 60 dB by Kaiser's formula for transitions 100 Hz wide; an odd length delays by whole samples.
    band = firwin(291, [250, 3_450], window=("kaiser", 5.65), pass_zero=False, fs=NARROW_RATE)
    narrow = fftconvolve(narrow, band)[len(band) // 2 :][: len(narrow)]
    levelled, level = _at_speech_level(narrow)
    file = io.BytesIO()
    soundfile.write(file, levelled, NARROW_RATE, format="WAV", subtype="ULAW")
    return _decoded(file, level, len(samples))


def opus(samples: Samples, *, bit_rate: int) -> Samples:
    """Encode a clip with libopus (RFC 6716) for speech, in frames of 20 ms at a constant rate, and decode it again.

    It is coded at -26 dBov and has its former level afterwards. The file says how much of its beginning is the
    encoder's delay, and reading leaves that out.

    Args:
        samples: shape (n,).
        bit_rate: of the packets without their container, in bit/s.
    """
    levelled, level = _at_speech_level(samples.astype(np.float64))
    return _decoded(encode_opus(levelled, bit_rate=bit_rate), level, len(samples))


def encode_opus(samples: Samples, *, bit_rate: int) -> io.BytesIO:
    """Write an Ogg Opus file as `opus` does."""
    import av  # only two conditions need it

    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        # "voip" is libopus' mode for speech; without "vbr" every packet has the stated size.
        options = {"application": "voip", "vbr": "off", "frame_duration": "20"}
        stream = container.add_stream("libopus", rate=MODEL_RATE, layout="mono", options=options)
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
        # Without a time of its own the sound would begin late by the encoder's delay.
        frame.sample_rate, frame.pts, frame.time_base = MODEL_RATE, 0, Fraction(1, MODEL_RATE)
        for part in (frame, None):
            container.mux(stream.encode(part))
    file.seek(0)
    return file


def clip_peaks(samples: Samples, *, share: float) -> Samples:
    """Cut off all that exceeds a threshold (hard clipping), chosen so that a share of the samples stands at it.

    The share counts among samples that are not exactly zero, so that digital silence around the speech does not move
    the threshold, and the threshold cannot be zero. The level is not made up for.

    Args:
        samples: shape (n,).
        share: 0 < share < 1. More samples stand at the threshold only where the clip itself repeats its value.
    """
    magnitudes = np.abs(samples[samples != 0])
    rank = len(magnitudes) - int(np.ceil(share * len(magnitudes)))
    threshold = np.partition(magnitudes, rank)[rank]
    return np.clip(samples, -threshold, threshold)


def change_gain(samples: Samples, *, gain_db: float) -> Samples:
    """Change the level; what then exceeds full scale (1) saturates, as in a sound card."""
    scaled = samples * np.float64(10 ** (gain_db / 20))
    return (np.clip(scaled, -1, 1) if gain_db > 0 else scaled).astype(np.float32)


def halve_rate(samples: Samples) -> Samples:
    """Resample to 8 kHz and back (soxr HQ), flat to 3.6 kHz, nothing left from 4 kHz on."""
    narrow = soxr.resample(samples, MODEL_RATE, NARROW_RATE, quality="HQ")
    return _of_length(soxr.resample(narrow, NARROW_RATE, MODEL_RATE, quality="HQ"), len(samples))


def _power(samples: Samples | Noise) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _at_speech_level(samples: Noise) -> tuple[Samples, float]:
    """Bring to -26 dBov, whatever then still exceeds full scale being cut off; and give the factor that undoes it."""
    level = math.sqrt(_power(samples)) / 10 ** (SPEECH_LEVEL_DBOV / 20)
    if level == 0:
        return samples.astype(np.float32), 1.0
    return np.clip(samples / level, -1, 1).astype(np.float32), level


def _decoded(file: io.BytesIO, level: float, length: int) -> Samples:
    samples = audio.load(file.getvalue(), limits=audio.STREAM_LIMITS).samples
    return _of_length((samples * level).astype(np.float32), length)


def _of_length(samples: Samples, length: int) -> Samples:
    """Undo the rounding of lengths by resamplers and codecs."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
