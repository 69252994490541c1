"""Conditions under which a model's robustness is measured: the same test recordings, each disturbed in one known way.

They are for *test* recordings only, and share no code with the augmentation that networks are trained with
(`emovox.models.augment`): a mistake in one cannot hide in the other. `CONDITIONS` lists them in the order of tables;
`emovox.evaluation.degradations` does the work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from emovox import audio
from emovox.audio import MODEL_RATE, Samples
from emovox.errors import AudioError, ParameterError
from emovox.evaluation.degradations import (
    FEWEST_VOICES,
    add_noise,
    babble_noise,
    change_gain,
    clip_peaks,
    halve_rate,
    impulse_response,
    opus,
    pink_noise,
    reverberate,
    telephone,
    white_noise,
)

__all__ = ["CONDITIONS", "Condition", "babble_for", "degrade"]

_SILENT_SHARE = 1e-3
"""A result whose range is smaller than this share of the clip's (-60 dB) counts as silent."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One way in which recordings are disturbed.

    Attributes:
        name: for file names and tables: ``white-20db``.
        group: what conditions that differ only in strength have in common: ``white noise``.
        level: the strength: ``20 dB``.
        summary: one sentence for readers, with the standard or source.
    """

    name: str
    group: str
    level: str
    summary: str


def degrade(samples: Samples, condition: str, *, seed: int, babble: Sequence[Samples] = ()) -> Samples:
    """Disturb a recording.

    Args:
        samples: shape (n,) at 16 kHz; what `emovox.audio.load` gives.
        condition: a name in `CONDITIONS`.
        seed: >= 0, of the noise, the room or the places where babble begins; other conditions draw nothing. The same
            seed gives the same sound on the same machine, and the same noise at every SNR. Give each clip its own,
            such as its row number, or all clips share one noise and one room.
        babble: clips at 16 kHz to mix babble from, six or more, all of which are used; see `babble_for`. Other
            conditions do not look at it.

    Returns:
        float32 of shape (n,), in time with `samples`, finite. Like a decoder's, its samples may exceed full scale.

    Raises:
        AudioError: if `samples` or a babble clip is not sound, as by `emovox.audio.from_array` (less than 0.1 s,
            silence, NaN ...); ``silent`` also if nothing is left under this condition, as of a 5 kHz tone on the
            telephone.
        ParameterError: if the condition is unknown, the seed negative, or babble has fewer than six clips.

    Example:
        >>> tone = np.sin(np.arange(16_000) / 20).astype(np.float32)
        >>> noise = degrade(tone, "white-10db", seed=0) - tone
        >>> round(float(10 * np.log10(np.mean(tone**2) / np.mean(noise**2))), 2)
        10.0
    """
    if condition not in CONDITIONS:
        raise ParameterError(f"unknown condition {condition!r}", remedy=f"Known are {', '.join(CONDITIONS)}.")
    if seed < 0:
        raise ParameterError(f"a seed cannot be negative, got {seed}")
    clean = audio.from_array(samples, source_rate=MODEL_RATE).samples
    kind, strength = _STEPS[condition]
    disturbed = kind.apply(clean, strength, np.random.default_rng(seed), babble)
    # Full scale at most counts: a huge clip that saturates is not silent.
    if float(np.ptp(disturbed)) <= _SILENT_SHARE * min(float(np.ptp(clean)), 1.0):
        raise AudioError(
            f"is silent under the condition {condition}",
            code="silent",
            remedy="Leave this recording out of this condition, and say so.",
        )
    return disturbed


def babble_for(speakers: npt.ArrayLike, row: int, *, seed: int, count: int = 8) -> npt.NDArray[np.intp]:
    """Choose the clips that the babble behind a clip is mixed from: clips of other speakers.

    They come from as many different speakers as there are. A clip of an unknown speaker may be by the speaker of
    `row`, and so may any clip if that speaker is unknown: such clips only fill up what clips that are surely by
    others leave open. A clip that is known to be by the speaker of `row` is never chosen.

    Args:
        speakers: the column ``speaker`` of a manifest, shape (rows,); an empty text is an unknown speaker.
        row: of the clip that is disturbed, 0 <= row < rows.
        seed: >= 0. The choice depends on it and on the row.
        count: how many clips, >= 6.

    Returns:
        Different row numbers, shape (m,): `count` of them, or as many as there are if those are six or more.

    Raises:
        ParameterError: if a parameter cannot be, or there are fewer than six such clips.

    Example:
        >>> speakers = np.array(["a"] * 4 + ["b", "c", "d"] * 2 + [""])
        >>> sorted(babble_for(speakers, 0, seed=7, count=6).tolist())
        [4, 5, 6, 7, 8, 9]
    """
    names = np.asarray(speakers)
    if seed < 0 or count < FEWEST_VOICES or not 0 <= row < len(names):
        raise ParameterError(
            f"cannot choose {count} babble clips for row {row} of {len(names)} with the seed {seed}",
            remedy=f"Use a row of the table, {FEWEST_VOICES} clips or more and a seed of 0 or more.",
        )
    drawn = np.random.default_rng([seed, row]).permutation(len(names))
    drawn = drawn[drawn != row]
    theirs, own = names[drawn], names[row]
    sure = (theirs != own) & (theirs != "") & (own != "")
    doubtful = (theirs == "") | (own == "")
    chosen = _by_turns(drawn[sure], names, count)
    chosen += _by_turns(drawn[doubtful], names, count - len(chosen))
    if len(chosen) < FEWEST_VOICES:
        raise ParameterError(
            f"only {len(chosen)} clips are by other speakers than row {row}; babble is mixed from"
            f" {FEWEST_VOICES} or more",
            remedy="Add recordings of other speakers, or leave babble out.",
        )
    return np.array(chosen, dtype=np.intp)


def _by_turns(rows: npt.NDArray[np.intp], names: npt.NDArray[np.str_], count: int) -> list[int]:
    """Take `count` rows, if there are, in their order: a clip of every speaker before the second of any."""
    taken: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for place, row in enumerate(rows):
        turns.append((taken[names[row]], place))
        taken[names[row]] += 1
        if len(taken) >= count:  # as many speakers as clips are wanted
            break
    return [int(rows[place]) for _, place in sorted(turns)[:count]]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Conditions that differ only in strength.

    Attributes:
        group: see `Condition`.
        summary: of all of them; ``{level}`` stands for the strength.
        strengths: name, level and number of each, mild before strong.
        apply: takes the clip, the number, a generator and the babble clips.
    """

    group: str
    summary: str
    strengths: tuple[tuple[str, str, float], ...]
    apply: Callable[[Samples, float, np.random.Generator, Sequence[Samples]], Samples]


def _snrs(noise: str) -> tuple[tuple[str, str, float], ...]:
    return tuple((f"{noise}-{snr_db}db", f"{snr_db} dB", snr_db) for snr_db in (20, 10, 5, 0))


_SNR = "at an SNR of {level}: powers over the whole clip, pauses included (not the active speech level of ITU-T P.56)."

_KINDS = (
    _Kind(
        group="white noise",
        summary=f"Gaussian noise of the same power density at all frequencies, {_SNR}",
        strengths=_snrs("white"),
        apply=lambda clip, snr_db, rng, _: add_noise(clip, white_noise(len(clip), rng), snr_db=snr_db),
    ),
    _Kind(
        group="pink noise",
        summary=f"Gaussian noise that falls by 3 dB an octave from 20 Hz on, {_SNR}",
        strengths=_snrs("pink"),
        apply=lambda clip, snr_db, rng, _: add_noise(clip, pink_noise(len(clip), rng), snr_db=snr_db),
    ),
    _Kind(
        group="babble",
        summary=f"Six or more clips of other speakers at equal power, looped and summed, {_SNR}",
        strengths=_snrs("babble"),
        apply=lambda clip, snr_db, rng, voices: add_noise(clip, babble_noise(len(clip), voices, rng), snr_db=snr_db),
    ),
    _Kind(
        group="reverberation",
        summary="A room with {level}: a direct path and exponentially decaying noise (Polack, 1988), in the proportion"
        " that holds 1 m from a talker in 100 cubic metres (Kuttruff, Room Acoustics).",
        strengths=(
            ("reverb-300ms", "RT60 0.3 s", 0.3),
            ("reverb-600ms", "RT60 0.6 s", 0.6),
            ("reverb-1000ms", "RT60 1.0 s", 1.0),
        ),
        apply=lambda clip, rt60_s, rng, _: reverberate(clip, impulse_response(rt60_s, rng)),
    ),
    _Kind(
        group="telephone band",
        summary="A digital telephone line: 8 kHz, 300 to 3,400 Hz, 8 bits of mu-law (ITU-T G.711), coded at -26 dBov.",
        strengths=(("telephone", "300-3,400 Hz, mu-law", 0.0),),
        apply=lambda clip, *_: telephone(clip),
    ),
    _Kind(
        group="opus",
        summary="Opus (RFC 6716, libopus) for speech at a constant {level}, frames of 20 ms, coded at -26 dBov.",
        strengths=(("opus-12kbit", "12 kbit/s", 12_000), ("opus-6kbit", "6 kbit/s", 6_000)),
        apply=lambda clip, bit_rate, *_: opus(clip, bit_rate=round(bit_rate)),
    ),
    _Kind(
        group="clipping",
        summary="Hard clipping at the threshold at which {level} of the samples stand, digital silence not counted;"
        " the level is not made up for (share of samples as in the Audio Degradation Toolbox, ISMIR 2013).",
        strengths=(("clipping-10pct", "10 %", 0.10), ("clipping-25pct", "25 %", 0.25)),
        apply=lambda clip, share, *_: clip_peaks(clip, share=share),
    ),
    _Kind(
        group="gain",
        summary="A level changed by {level}, without quantisation; what exceeds full scale saturates after a rise.",
        strengths=(("gain-minus-20db", "-20 dB", -20), ("gain-plus-20db", "+20 dB", 20)),
        apply=lambda clip, gain_db, *_: change_gain(clip, gain_db=gain_db),
    ),
    _Kind(
        group="bandwidth",
        summary="Resampled to 8 kHz and back (soxr HQ): nothing is left from 4 kHz on.",
        strengths=(("rate-8khz", "8 kHz rate", 0.0),),
        apply=lambda clip, *_: halve_rate(clip),
    ),
)

_STEPS = {name: (kind, strength) for kind in _KINDS for name, _, strength in kind.strengths}

CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        name: Condition(name=name, group=kind.group, level=level, summary=kind.summary.format(level=level))
        for kind in _KINDS
        for name, level, _ in kind.strengths
    }
)
"""All conditions by name, in the order of tables: by group, mild before strong."""
