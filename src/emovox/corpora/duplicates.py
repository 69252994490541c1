"""The same recording under several names, among tens of thousands of clips, without comparing all pairs.

1. Clips with the same decoded content form a group at once; one of each such group goes on.
2. All words of all fingerprints are sorted. Clips that share a word, or a word up to its least reliable bits, twice or
   more at the same distance in time, are candidates: this costs O(n log n), not O(n^2).
3. A candidate is aligned and its differing bits are counted; where they leave doubt, the waveforms are correlated.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emovox import audio
from emovox.corpora import fingerprint as fp
from emovox.corpora.prints import Clip, Prints
from emovox.errors import AudioError

SURE_BIT_ERROR = 0.19
"""Fewer wrong bits than this: the same recording. The most alike takes in 4,775 real clips have 0.22."""
POSSIBLE_BIT_ERROR = 0.30
"""More wrong bits than this: two recordings. In between, the waveforms decide."""
SAME_WAVEFORM = 0.65
"""Least correlation of two encodings of one recording where the bits leave doubt; two takes stay below 0.6."""
SHORT_FRAMES = 40
"""With fewer common frames than this (0.9 s) the waveforms always decide,"""
SAME_SHORT_WAVEFORM = 0.82
"""and have to agree this much: in a moment's sound two takes reach 0.78."""
NEARBY_BIT_ERROR = 0.42
"""A candidate with more wrong bits than this is not looked at one frame earlier and later."""
COMMON_SHARE = 0.5
"""Share of the shorter clip's active frames that has to lie in the part that both have."""
MIN_HITS = 2
"""Common words, at the same distance in time, that make two clips candidates."""
MAX_MATCHES = 64
"""Matches of one word that are followed up; a longer list (a hum, a beep) says nothing about a recording."""

Codes = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pair:
    """Two rows that hold the same recording.

    Attributes:
        first, second: positions in the manifest, first < second.
        kind: ``identical`` (the decoded samples are equal) or ``near`` (re-encoded, resampled, trimmed, louder ...).
        bit_error: share of differing fingerprint bits, 0..1.
        similarity: correlation of the waveforms, 0..1; None where the bits were beyond doubt.
        offset_s: how much later the second one's sound begins within the first one, in seconds.
    """

    first: int
    second: int
    kind: str
    bit_error: float
    similarity: float | None
    offset_s: float


@dataclass(frozen=True)
class Duplicates:
    """What the search found.

    Attributes:
        pairs: the evidence. Of a group of equal clips only the pairs with its first member are listed.
        groups: rows that hold the same recording, each sorted, two or more.
        candidates: pairs that were compared.
        too_short: rows with too little sound for near-duplicates; exact ones are found all the same.
    """

    pairs: tuple[Pair, ...]
    groups: tuple[tuple[int, ...], ...]
    candidates: int
    too_short: tuple[int, ...]


def find_duplicates(prints: Prints, *, progress: Progress | None = None) -> Duplicates:
    """Find rows that hold the same recording.

    Args:
        prints: fingerprints of all rows, see `emovox.corpora.prints.fingerprints`.
        progress: called with candidates compared and all candidates.
    """
    readable = {row: value for row, value in enumerate(prints.values) if value is not None}
    same = _identical(readable)
    pairs = [Pair(rows[0], row, "identical", 0.0, None, 0.0) for rows in same for row in rows[1:]]
    too_short = [row for rows in same if not readable[rows[0]].searchable for row in rows]
    searched = [rows[0] for rows in same if readable[rows[0]].searchable]
    words = [readable[row] for row in searched]
    candidates = list(_candidates(words))
    load = functools.lru_cache(maxsize=64)(_load)
    for number, (one, two, offset) in enumerate(candidates, start=1):
        rows = (searched[one], searched[two])
        pair = _verify(rows, (words[one], words[two]), offset, (prints.clips[rows[0]], prints.clips[rows[1]]), load)
        if pair is not None:
            pairs.append(pair)
        if progress is not None and (number % 1_000 == 0 or number == len(candidates)):
            progress(number, len(candidates))
    pairs.sort(key=lambda pair: (pair.first, pair.second))
    return Duplicates(tuple(pairs), connected(pairs), len(candidates), tuple(sorted(too_short)))


def connected(pairs: Sequence[Pair]) -> tuple[tuple[int, ...], ...]:
    """Join pairs into groups: who is a duplicate of a duplicate belongs to the same group.

    Example:
        >>> connected([Pair(0, 4, "near", 0.1, None, 0.0), Pair(4, 9, "near", 0.1, None, 0.0)])
        ((0, 4, 9),)
    """
    root: dict[int, int] = {}

    def find(row: int) -> int:
        root.setdefault(row, row)
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for pair in pairs:
        one, two = find(pair.first), find(pair.second)
        root[max(one, two)] = min(one, two)
    groups: dict[int, list[int]] = defaultdict(list)
    for row in root:
        groups[find(row)].append(row)
    return tuple(sorted(tuple(sorted(rows)) for rows in groups.values()))


def _identical(readable: Mapping[int, fp.Fingerprint]) -> list[list[int]]:
    """Rows by decoded content, in order of their first member; most lists have one row."""
    by_content: dict[str, list[int]] = defaultdict(list)
    for row, value in readable.items():
        by_content[value.content].append(row)
    return list(by_content.values())


def _candidates(words: Sequence[fp.Fingerprint]) -> Iterator[tuple[int, int, int]]:
    """Yield (clip, later clip, offset in frames) for clips that share `MIN_HITS` words at about the same offset."""
    if len(words) < 2:
        return
    keys = np.concatenate([value.words[value.active] for value in words])
    weak = np.concatenate([value.weak[value.active] for value in words])
    clips = np.concatenate([np.full(np.count_nonzero(value.weak), n, np.int32) for n, value in enumerate(words)])
    frames = np.concatenate([np.flatnonzero(value.weak).astype(np.int32) for value in words])
    order = np.argsort(keys, kind="stable")
    keys, weak, clips, frames = keys[order], weak[order], clips[order], frames[order]
    span = 2 * int(frames.max()) + 3
    code = _Code(len(words), span)
    found: list[Codes] = []
    for flipped in _variants(weak):
        for start in range(0, len(keys), 1 << 20):
            chunk = slice(start, start + (1 << 20))
            found.append(_matches(keys, clips, frames, keys[chunk] ^ flipped[chunk], chunk, code))
    codes, hits = _count(found)
    yield from _best_offsets(codes, hits, code)


@dataclass(frozen=True)
class _Code:
    """Packs (clip, later clip, offset) into one number that sorts in this order."""

    clips: int
    span: int

    def pack(self, one: npt.NDArray[np.int32], two: npt.NDArray[np.int32], offset: npt.NDArray[np.int32]) -> Codes:
        return (one.astype(np.int64) * self.clips + two) * self.span + (offset + self.span // 2)

    def unpack(self, code: int) -> tuple[int, int, int]:
        pair, offset = divmod(code, self.span)
        one, two = divmod(pair, self.clips)
        return one, two, offset - self.span // 2


def _variants(weak: fp.Words) -> Iterator[fp.Words]:
    """Yield masks that turn over every subset of each word's weak bits, beginning with none of them."""
    singles = []
    rest = weak.copy()
    for _ in range(fp.WEAK_BITS):
        lowest = rest & (~rest + np.uint32(1))
        singles.append(lowest)
        rest ^= lowest
    for size in range(fp.WEAK_BITS + 1):
        for subset in itertools.combinations(singles, size):
            yield functools.reduce(np.bitwise_or, subset, np.zeros_like(weak))


def _matches(
    keys: fp.Words,
    clips: npt.NDArray[np.int32],
    frames: npt.NDArray[np.int32],
    wanted: fp.Words,
    chunk: slice,
    code: _Code,
) -> Codes:
    """Codes of all pairs of frames in which a word of `chunk`, changed to `wanted`, meets an equal word."""
    order = np.argsort(wanted)
    first = np.searchsorted(keys, wanted[order], "left")
    counts = np.minimum(np.searchsorted(keys, wanted[order], "right") - first, MAX_MATCHES)
    asking = np.repeat(order + chunk.start, counts)
    steps = np.arange(len(asking)) - np.repeat(np.cumsum(counts) - counts, counts)
    meeting = np.repeat(first, counts) + steps
    other = clips[asking] != clips[meeting]
    asking, meeting = asking[other], meeting[other]
    ordered = clips[asking] < clips[meeting]
    one, two = np.where(ordered, asking, meeting), np.where(ordered, meeting, asking)
    codes: Codes = np.sort(code.pack(clips[one], clips[two], frames[one] - frames[two]))
    return codes


def _count(found: Sequence[Codes]) -> tuple[Codes, Codes]:
    codes, hits = np.unique(np.concatenate(found), return_counts=True)
    return codes, hits


def _best_offsets(codes: Codes, hits: Codes, code: _Code) -> Iterator[tuple[int, int, int]]:
    """Of each pair of clips, the offset with most hits, where neighbouring offsets count together."""
    if not len(codes):
        return
    together = hits.copy()
    beside = np.flatnonzero(np.diff(codes) == 1)
    together[beside] += hits[beside + 1]
    together[beside + 1] += hits[beside]
    enough = together >= MIN_HITS
    codes, together = codes[enough], together[enough]
    pairs = codes // code.span
    order = np.lexsort((-together, pairs))
    firsts = order[np.unique(pairs[order], return_index=True)[1]]
    for best in codes[firsts].tolist():
        yield code.unpack(best)


def _verify(
    rows: tuple[int, int],
    words: tuple[fp.Fingerprint, fp.Fingerprint],
    offset: int,
    clips: tuple[Clip, Clip],
    load: Callable[[Clip], audio.Waveform],
) -> Pair | None:
    best = fp.align(*words, offset)
    if best.bit_error > NEARBY_BIT_ERROR:
        return None
    best = min((best, fp.align(*words, offset - 1), fp.align(*words, offset + 1)), key=lambda fit: fit.bit_error)
    shorter = min(int(np.count_nonzero(value.weak)) for value in words)
    if best.bit_error > POSSIBLE_BIT_ERROR or best.frames < max(COMMON_SHARE * shorter, fp.MIN_FRAMES):
        return None
    similarity = None
    short = best.frames < SHORT_FRAMES
    if short or best.bit_error > SURE_BIT_ERROR:
        try:
            similarity = fp.waveform_similarity(load(clips[0]), load(clips[1]), best.offset)
        except AudioError:
            return None  # it was readable a moment ago; without its sound there is no proof
        if similarity < (SAME_SHORT_WAVEFORM if short else SAME_WAVEFORM):
            return None
    return Pair(min(rows), max(rows), "near", best.bit_error, similarity, best.offset * fp.HOP / fp.RATE)


def _load(clip: Clip) -> audio.Waveform:
    return clip.load()
