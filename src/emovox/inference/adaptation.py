"""What adapts a model to a voice, a microphone or a room without labels: the mean of what it heard there.

The embedding of a clip holds its emotion, and much that stays the same from clip to clip: the voice, the room, the
microphone. So the mean embedding of some clips of one speaker, emotions mixed, is what a clip's own embedding is
measured from: logits = W (embedding - reference) + b. Speech recognition calls it cepstral mean normalisation (Atal,
1974), speaker recognition centring. `docs/adapt.md` says when it helps and when it harms.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emovox._files import replacing
from emovox.errors import AdaptationError, EmovoxError, ParameterError
from emovox.inference.bundle import Bundle, Floats, Identity
from emovox.inference.log_ratios import Ratios, log_ratios, telling, trust
from emovox.inference.metadata import BundleMetadata

ENOUGH_CLIPS = 8
"""So many clips give most of the gain."""

SHORTEST_CLIP_S = 0.5
"""Shorter clips, in seconds, tell little of a voice; they take no part in a reference."""

FORMAT_VERSION = 1
LARGEST_FILE = 1024 * 1024
"""Size in bytes of a file that holds a reference, at most; a real one has 18 kB."""

_MEMBERS = frozenset({"format", "embedding", "clips", "seconds", "model"})


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """What a model measures the clips of a speaker, a microphone or a room from.

    It holds no sound, but it is a trait of a voice: treat it as personal data.

    Attributes:
        embedding: what is subtracted from the embedding of each clip, shape (d,), read-only.
        clips: how many unlabelled clips it was made from.
        seconds: their length in all.
        model: the bundle that it belongs to; it means nothing to another one.

    Raises:
        ParameterError: if a value makes no sense.
    """

    embedding: Floats
    clips: int
    seconds: float
    model: Identity

    def __post_init__(self) -> None:
        embedding = np.array(self.embedding, dtype=np.float32)
        if embedding.ndim != 1 or not embedding.size or not np.isfinite(embedding).all():
            raise ParameterError(f"a reference is a finite vector, got the shape {embedding.shape}")
        if self.clips < 1 or not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ParameterError(f"a reference comes from clips, got {self.clips} of {self.seconds} s")
        embedding.flags.writeable = False
        object.__setattr__(self, "embedding", embedding)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a small ``.npz``, in one step: a reader never sees half of it.

        Raises:
            AdaptationError: ``not_written``.
        """
        try:
            with replacing(Path(path)) as partial, partial.open("wb") as file:
                np.savez(
                    file,
                    allow_pickle=False,
                    format=FORMAT_VERSION,
                    embedding=self.embedding,
                    clips=self.clips,
                    seconds=self.seconds,
                    model=[self.model.name, self.model.version, self.model.sha256],
                )
        except OSError as error:
            raise AdaptationError(
                f"cannot be written ({error.strerror or error})",
                code="not_written",
                path=path,
                remedy="Check the disk's free space and the folder's rights.",
            ) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """Read what `save` wrote. Nothing in the file is ever run, and its size is bounded.

        Raises:
            AdaptationError: ``not_found``, ``not_a_reference`` or ``newer_version``.
        """
        try:
            values = _members(_bounded(Path(path)))
            if int(values["format"]) > FORMAT_VERSION:
                raise AdaptationError(
                    f"has format {int(values['format'])} of references; this emovox reads up to {FORMAT_VERSION}",
                    code="newer_version",
                    path=path,
                    remedy="Update it: pip install --upgrade emovox",
                )
            name, version, sha256 = map(str, values["model"])
            return cls(
                embedding=values["embedding"],
                clips=int(values["clips"]),
                seconds=float(values["seconds"]),
                model=Identity(name, version, sha256),
            )
        except AdaptationError:
            raise
        except OSError as error:
            message = "is a folder, not a reference" if Path(path).is_dir() else f"cannot be read ({error.strerror})"
            raise AdaptationError(message, code="not_found", path=path, remedy=_MAKE_ONE) from error
        except Exception as error:  # zipfile and numpy have no common base for what damaged files raise
            reason = error.message if isinstance(error, EmovoxError) else str(error)
            raise AdaptationError(f"is no reference ({reason})", path=path, remedy=_MAKE_ONE) from error

    def require(self, bundle: Bundle) -> None:
        """Make sure that it belongs to a bundle.

        Raises:
            AdaptationError: ``other_model``, if it belongs to another one.
            BundleError: ``cannot_adapt``, if none can belong to it.
        """
        size = bundle.require_adaptable()
        if self.model != bundle.identity or len(self.embedding) != size:
            twin = " (of this name and version, but another file)" if str(self.model) == str(bundle.identity) else ""
            raise AdaptationError(
                f"the reference was made with the model {self.model}{twin}, not with {bundle.identity}",
                code="other_model",
                remedy="Make it again with `emovox adapt`, or name its model with --model.",
            )


_MAKE_ONE = "Give a file that `emovox adapt` wrote."


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ValueError(f"larger than {LARGEST_FILE:,} bytes")
    return data


def _members(data: bytes) -> dict[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(item.file_size for item in archive.infolist()) > LARGEST_FILE:
            raise ValueError(f"more than {LARGEST_FILE:,} bytes when unpacked")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        if not set(arrays.files) >= _MEMBERS:
            raise ValueError(f"lacks {', '.join(sorted(_MEMBERS - set(arrays.files)))}")
        return {name: arrays[name] for name in _MEMBERS}


@dataclass(frozen=True, eq=False, kw_only=True)
class Heard:
    """What a model made of one recording, unadapted.

    Attributes:
        path: the recording; None if it has no name.
        duration_s: its length in seconds.
        probabilities, embeddings: of its parts, shapes (parts, labels) and (parts, d). What is no longer than the
            model takes at once is one part.
        weights: lengths of the parts, in samples, shape (parts,).
    """

    path: str | None
    duration_s: float
    probabilities: Floats
    embeddings: Floats
    weights: npt.NDArray[np.float64]

    @property
    def embedding(self) -> Floats:
        """Mean embedding of the parts by their lengths, shape (d,)."""
        return weighted_mean(self.embeddings, self.weights)

    def spoken(self) -> Heard:
        """Give the same without the parts that are no voice; it may have none left."""
        kept = telling(self.probabilities)
        return dataclasses.replace(
            self,
            duration_s=self.duration_s * float(self.weights[kept].sum() / self.weights.sum()),
            probabilities=self.probabilities[kept],
            embeddings=self.embeddings[kept],
            weights=self.weights[kept],
        )


@dataclass(frozen=True, eq=False)
class Parts:
    """Probabilities of sound that is in memory; what is no longer than the model takes at once is one part.

    Attributes:
        probabilities: shape (parts, labels).
        weights: lengths of the parts, in samples, shape (parts,).
    """

    probabilities: Floats
    weights: npt.NDArray[np.float64]

    @property
    def mean(self) -> Floats:
        """Probabilities of the whole, shape (labels,)."""
        return weighted_mean(self.probabilities, self.weights)


def weighted_mean(rows: npt.NDArray[Any], weights: npt.NDArray[np.float64]) -> Floats:
    """Average rows of shape (n, size) with weights of shape (n,)."""
    return np.asarray(np.average(rows, axis=0, weights=weights), dtype=np.float32)


def gather(heard: Sequence[Heard], bundle: Bundle, *, at_least: int = 1) -> Reference | None:
    """Make a reference of recordings: as much of their mean embedding as `trust` says.

    Each part of a long recording counts as a clip, because it is as much speech.

    Args:
        heard: recordings; those shorter than `SHORTEST_CLIP_S` and parts that are no voice (`telling`) take no part,
            and a file counts once.
        bundle: the model that heard them.
        at_least: clips that are needed.

    Returns:
        None if there are fewer.
    """
    known = weigh(heard, bundle.meta)
    if known.clips < max(1, at_least):
        return None
    mean = np.concatenate([item.embeddings for item in known.used]).mean(axis=0, dtype=np.float64)
    seconds = math.fsum(item.duration_s for item in known.used)
    return Reference(embedding=known.share * mean, clips=known.clips, seconds=seconds, model=bundle.identity)


class Weighed(NamedTuple):
    """What is known of a voice from some recordings.

    Attributes:
        used: recordings that take part. clips: how many these are, parts of long ones counted alike.
        ratios: their mean log ratios, shape (labels,); None where there are none, or the model tells no `neutral`.
        share: how much of a mean is trusted, see `trust`.
    """

    used: list[Heard]
    clips: int
    ratios: Ratios | None
    share: float


def weigh(heard: Sequence[Heard], meta: BundleMetadata) -> Weighed:
    """Tell how much of the mean of some recordings is their voice's."""
    used = worth_adapting_to(heard)
    clips = sum(len(item.probabilities) for item in used)
    ratios, unsurprising = None, np.zeros(len(meta.labels))
    if used and meta.neutral is not None:
        rows = np.concatenate([item.probabilities for item in used])
        ratios = np.asarray(log_ratios(rows, meta.neutral).mean(axis=0))
    share = trust(clips, unsurprising if ratios is None else ratios, meta.spread)
    return Weighed(used, clips, ratios, share)


def worth_adapting_to(heard: Sequence[Heard]) -> list[Heard]:
    """Leave out recordings below `SHORTEST_CLIP_S`, files that are there already, and parts that are no voice."""
    files = {os.path.realpath(item.path) if item.path else index: item for index, item in enumerate(heard)}
    spoken = [item.spoken() for item in files.values() if item.duration_s >= SHORTEST_CLIP_S]
    return [item for item in spoken if len(item.weights)]
