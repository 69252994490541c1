"""speechnet-small: what speechnet does in a seventh of its size, with the beginning of its trunk.

The convolutions of Whisper's encoder, the attention of its first block and 512 units of the layer behind, in 4 and 8
bits (`emovox.models.whisper.SmallTrunk`); then everything is as in `emovox.models.speechnet`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from emovox.models.speechnet import SpeechNet

if TYPE_CHECKING:
    from emovox.models.whisper import SmallTrunk


class SmallSpeechNet(SpeechNet):
    """Emotion from a waveform, through the beginning of a frozen pretrained trunk.

    Args:
        weights: safetensors file with Whisper encoder weights.
        units: of the first block's GELU network that are used, >= 1.
        views, shrinkage, cache_dir, progress, random_state: as of `SpeechNet`.

    Attributes:
        classes_, temperature_, spread_, layer_, gate_, pretrained_: as of `SpeechNet`.
    """

    recipe = "4"

    def __init__(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        units: int = 512,
        views: int = 4,
        shrinkage: float = 0.25,
        cache_dir: str | os.PathLike[str] | None = "default",
        progress: Callable[[int, int], None] | None = None,
        random_state: int = 7,
    ) -> None:
        super().__init__(
            weights=weights,
            pooled_blocks=(),
            units=units,
            views=views,
            shrinkage=shrinkage,
            cache_dir=cache_dir,
            progress=progress,
            random_state=random_state,
        )

    def _parts(self, size: int) -> list[tuple[slice, float, float]]:
        return [(slice(0, size), self.shrinkage, 1.0)]

    def _load_trunk(self, weights: str | os.PathLike[str]) -> SmallTrunk:
        from emovox.models.whisper import load_small_trunk

        return load_small_trunk(weights, units=self.units)
