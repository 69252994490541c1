"""Training clips as they are, and augmented versions of them that are the same in every run and in every fold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from emovox.audio import Samples

if TYPE_CHECKING:
    from emovox.models.augment import Augmenter

CROWD = 6
"""Clips of the same speaker that are at hand for the babble in a version of a clip."""


class Versions:
    """View 0 of each clip is the clip itself; views 1, 2, ... are made by `emovox.models.augment.Augmenter`.

    What a version sounds like depends on its clip, on the speaker's other clips (the babble is made of them) and on
    the seed. Where folds separate speakers it is the same in all of them, and no voice of a test speaker gets into it.

    Args:
        clips: each float32 of shape (samples,) at 16 kHz.
        speakers: of each clip, empty where unknown; None where none is known.
        random_state: seed of all versions.
    """

    def __init__(
        self, clips: Sequence[Samples], *, speakers: npt.ArrayLike | None = None, random_state: int = 7
    ) -> None:
        self.clips = clips
        self.random_state = random_state
        self._digests = [hashlib.sha256(np.asarray(clip, dtype=np.float32).tobytes()).digest() for clip in clips]
        known = np.full(len(clips), "") if speakers is None else np.asarray(speakers)
        self._rows = {speaker: np.flatnonzero(known == speaker) for speaker in set(known.tolist()) - {""}}
        self._speakers = known.tolist()

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, view: int, row: int) -> bytes:
        """Give what tells a version from every other one: two of the same name sound the same."""
        if not view:
            return self._digests[row]
        crowd = b"".join(self._digests[other] for other in self.crowd(view, row))
        return hashlib.sha256(self._recipe(view) + self._digests[row] + crowd).digest()

    def crowd(self, view: int, row: int) -> list[int]:
        """Draw up to `CROWD` other clips of the speaker; none where the speaker is unknown."""
        own = self._rows.get(self._speakers[row], np.empty(0, dtype=np.intp))
        others = own[own != row]
        random = np.random.default_rng(self._seed(view, row))
        return random.choice(others, min(CROWD, len(others)), replace=False).tolist() if len(others) else []

    def sound(self, view: int, row: int) -> Samples:
        """Make a version, float32 of shape (samples,)."""
        if not view:
            return np.array(self.clips[row], dtype=np.float32)
        crowd = [self.clips[other] for other in self.crowd(view, row)]
        return self._augmenter(self.clips[row], self._seed(view, row), crowd=crowd)

    @cached_property
    def _augmenter(self) -> Augmenter:
        from emovox.models.augment import Augmenter

        return Augmenter()

    def _seed(self, view: int, row: int) -> int:
        return int.from_bytes(hashlib.sha256(self._recipe(view) + self._digests[row]).digest()[:4], "little")

    def _recipe(self, view: int) -> bytes:
        from emovox.models.augment import AUGMENT_VERSION

        return f"augment-{AUGMENT_VERSION}/{self.random_state}/{view}/".encode()
