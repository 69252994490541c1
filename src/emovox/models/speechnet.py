"""speechnet: a pretrained spectrogram network that works on voices it has never heard.

Waveform -> log-mel spectrogram, quiet ends left out -> the first blocks of Whisper's encoder (frozen) -> mean over time
of their states, and of units inside them -> linear discriminants, added -> temperature -> less certainty where nobody
speaks. The trunk stays as it was pretrained, so that a few thousand clips cannot bend it towards their speakers; what
is learned is one linear layer, from each clip and augmented versions of it, each as it is and relative to its speaker.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted

from emovox.audio import Samples
from emovox.errors import MissingExtraError, ModelError, ParameterError
from emovox.models.discriminant import Discriminant, add_discriminants, fit_discriminant
from emovox.models.embeddings import EmbeddingCache
from emovox.models.temperature import softmax, spread_of_voices, typical_temperature
from emovox.models.versions import Versions
from emovox.models.voice_gate import VoiceGate, fit_voice_gate

if TYPE_CHECKING:
    import onnx

    from emovox.models.whisper import Trunk

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
logger = logging.getLogger(__name__)

MAX_SECONDS = 10.0
"""Longest clip in one call, about the longest that it was trained on; of longer recordings parts are averaged."""

UNITS_SHRINKAGE, UNITS_SHARE = 0.5, 0.3
"""Shrinkage of the discriminant that reads units, and the weight of its logits beside the one that reads states."""

BACKGROUND_SOUNDS = 50
"""Sounds of each kind, of `emovox.models.background`, that are learned as what is no voice."""


class SpeechNet(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Emotion from a waveform, through a frozen pretrained trunk.

    Args:
        weights: safetensors file with Whisper encoder weights.
        pooled_blocks: encoder blocks, counted from 1, whose mean over time is used, beside that of what attention gives
            in every block; the trunk ends with the last of them.
        units: of every block's GELU network, whose mean over time is used too, >= 1.
        weight_bits: the trunk's weights are rounded to so many bits, in training as in the bundle; None for float32.
        views: augmented versions of each training clip that are learned beside it, >= 0.
        shrinkage: of the covariance of the discriminant that reads states, above 0 and at most 1.
        cache_dir: where embeddings are kept between runs; None keeps them nowhere. The default is the user's cache.
        progress: called with (clips done, clips in all) while embedding.
        random_state: seed of the augmentation.

    Attributes:
        classes_: emotions, sorted.
        temperature_: by which logits are divided; from held-out training speakers, 1.0 where none can be held out.
        spread_: how far the calibrated logits of a voice lie apart (`spread_of_voices`), from the same speakers; None
            where none can be held out.
        layer_: the linear layer. Its `mean` is taken from every embedding, and is the default reference.
        gate_: tells how far a clip is a voice.
        pretrained_: where the trunk's weights come from, and their licence.
    """

    recipe = "7"
    """Raised whenever the same data give another model."""

    def __init__(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        pooled_blocks: Sequence[int] = (2, 3),
        units: int = 512,
        weight_bits: int | None = 8,
        views: int = 4,
        shrinkage: float = 0.35,
        cache_dir: str | os.PathLike[str] | None = "default",
        progress: Callable[[int, int], None] | None = None,
        random_state: int = 7,
    ) -> None:
        self.weights = weights
        self.pooled_blocks = pooled_blocks
        self.units = units
        self.weight_bits = weight_bits
        self.views = views
        self.shrinkage = shrinkage
        self.cache_dir = cache_dir
        self.progress = progress
        self.random_state = random_state

    def fit(
        self,
        X: Sequence[Samples],
        y: npt.ArrayLike,
        *,
        groups: npt.ArrayLike | None = None,
        corpora: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn the linear layer.

        Args:
            X: clips, each float32 of shape (samples,) at 16 kHz.
            y: emotion of each clip, shape (n,).
            groups: speaker of each clip, shape (n,). With two or more, the layer is learned from each clip as it is and
                relative to its speaker, and temperature and spread are found.
            corpora: corpus of each clip, shape (n,). Emotions count alike in each corpus, and corpora alike.
        """
        targets, speakers, origins = self._check(X, y, groups, corpora)
        self.trunk_: Trunk = self._build_trunk()
        versions = Versions(X, speakers=speakers, random_state=self.random_state)
        every = range(self.views + 1)
        embedded = np.stack([self._embed(versions, view=view, of=len(every)) for view in every], axis=1)
        weight = balance(targets, origins)
        self.temperature_, self.spread_ = self._hear_others(embedded, targets, speakers, weight)
        self.layer_ = self._fit_layer(embedded, targets, speakers, weight)
        self.gate_ = self._fit_gate(embedded, targets, weight)
        return self

    def embed(self, X: Sequence[Samples]) -> Floats:
        """Give the pooled states, then the pooled units, relative to the training clips' mean, shape (n, size)."""
        check_is_fitted(self)
        return np.asarray(self._embed(Versions(X)) - self.layer_.mean)

    def decision_function(self, X: Sequence[Samples], *, references: Floats | None = None) -> Floats:
        """Give calibrated logits, as of a voice.

        Args:
            X: clips, each float32 of shape (samples,) at 16 kHz.
            references: what is taken from each embedding, shape (n, size) or (size,): to adapt, as much of the mean of
                `embed` over clips of the same speaker as `emovox.inference.log_ratios.trust` says. None takes nothing.

        Returns:
            Shape (n, classes).
        """
        embedded = self.embed(X)
        if references is not None:
            embedded = embedded - references
        return np.asarray(self.layer_.logits(embedded + self.layer_.mean) / self.temperature_)

    def predict_proba(self, X: Sequence[Samples], *, references: Floats | None = None) -> Floats:
        """Give probabilities, shape (n, classes), columns in the order of `classes_`; as `decision_function`.

        As far as a clip is no voice, whatever is adapted, all emotions are alike likely.
        """
        voice = self.gate_.voice(self.embed(X))[:, None]
        told = softmax(self.decision_function(X, references=references))
        return np.asarray(voice * told + (1 - voice) / len(self.classes_))

    def neutral_probabilities(self) -> Floats:
        """Give the probabilities of an embedding that is the default reference, shape (classes,)."""
        check_is_fitted(self)
        return np.asarray(softmax(self.layer_.intercept[None] / self.temperature_)[0])

    def predict(self, X: Sequence[Samples]) -> npt.NDArray[Any]:
        """Give the likeliest emotion of each clip, shape (n,)."""
        best: npt.NDArray[Any] = self.classes_[self.decision_function(X).argmax(axis=1)]
        return best

    def to_onnx_model(self) -> onnx.ModelProto:
        """Build the graph of a bundle: ``waveform`` (batch, samples) to ``probabilities`` (batch, classes).

        A second output, ``embedding``, is what `embed` gives; a second input, ``reference`` (1 or batch, size), is
        taken from it before the linear layer, and is zero where it is not given.
        """
        check_is_fitted(self)
        from emovox.models.speechnet_onnx import build_graph

        return build_graph(self, max_seconds=MAX_SECONDS)

    def _check(
        self, X: Sequence[Samples], y: npt.ArrayLike, groups: npt.ArrayLike | None, corpora: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None, npt.NDArray[Any] | None]:
        """Give labels, speakers and corpora as arrays, and set `classes_`."""
        targets = np.asarray(y)
        speakers, origins = (None if given is None else np.asarray(given) for given in (groups, corpora))
        if any(len(given) != len(X) for given in (targets, speakers, origins) if given is not None):
            raise ParameterError(f"{len(X)} clips, {len(targets)} labels: speakers and corpora must be as many")
        if not 0 < self.shrinkage <= 1:
            raise ParameterError(f"shrinkage must lie above 0 and at most at 1, got {self.shrinkage}")
        self.classes_ = np.unique(targets)
        if len(self.classes_) < 2:
            raise ParameterError("at least two emotions are needed to learn from")
        return targets, speakers, origins

    def _build_trunk(self) -> Trunk:
        if self.weights is None:
            raise ModelError(
                "speechnet needs pretrained encoder weights",
                remedy="Give a safetensors file of openai/whisper-base with --set weights=FILE.",
            )
        if self.units < 1 or self.views < 0:
            raise ParameterError("units must be at least 1, and views at least 0")
        try:
            from emovox.models.whisper import describe_weights
        except ModuleNotFoundError as error:
            raise MissingExtraError.for_extra("deep", "speechnet") from error
        trunk = self._load_trunk(self.weights)
        if self.units > trunk.units:
            raise ModelError(f"has {trunk.units} units a block, {self.units} are wanted", path=self.weights)
        self.pretrained_ = describe_weights(self.weights)
        return trunk

    def _load_trunk(self, weights: str | os.PathLike[str]) -> Trunk:
        from emovox.models.whisper import load_trunk

        blocks = list(self.pooled_blocks)
        if not blocks or min(blocks) < 1:
            raise ParameterError("pooled_blocks counts from 1 and names at least one")
        return load_trunk(weights, blocks=max(blocks), weight_bits=self.weight_bits)

    def _embed(self, versions: Versions, *, view: int = 0, of: int = 1) -> Floats:
        """Embed a version of each clip, one of the views 0 to `of` - 1; of 0 views nothing is told."""
        import torch

        from emovox.models.threads import in_threads

        cache = self._cache()

        def compute(row: int) -> npt.NDArray[np.float32]:
            with torch.inference_mode():
                sound = torch.from_numpy(versions.sound(view, row))[None]
                pooled: npt.NDArray[np.float32] = self.trunk_.pool(sound, self.pooled_blocks, self.units)[0].numpy()
            return pooled

        def embed(row: int) -> npt.NDArray[np.float32]:
            return cache.get(versions.name(view, row), lambda: compute(row))

        def told(done: int) -> None:
            if self.progress is not None and of:
                self.progress(view * len(versions) + done, of * len(versions))

        return np.stack(in_threads(embed, range(len(versions)), done=told))

    def _cache(self) -> EmbeddingCache:
        from emovox.models.whisper import TRUNK_VERSION, digest

        blocks = ",".join(map(str, self.pooled_blocks))
        key = f"speechnet-{TRUNK_VERSION}/{digest(self.trunk_.state_dict())}/{blocks}/{self.units}/"
        return EmbeddingCache(self.cache_dir, key=key)

    def _fit_layer(
        self, embedded: Floats, targets: npt.NDArray[Any], speakers: npt.NDArray[Any] | None, weight: Floats
    ) -> Discriminant:
        """Fit on (clips, views, size)."""
        clips, views, size = embedded.shape
        numbers = np.searchsorted(self.classes_, targets)
        voices = None if speakers is None else np.unique(speakers, return_inverse=True)[1].reshape(clips)
        rows, parts = embedded.reshape(-1, size), self._parts(size)
        layers = [
            fit_discriminant(
                rows[:, columns],
                np.repeat(numbers, views),
                _of_views(weight, views),
                speakers=None if voices is None or not voices.any() else np.repeat(voices, views),
                shrinkage=shrinkage,
            )
            for columns, shrinkage, _ in parts
        ]
        return add_discriminants(layers, [share for _, _, share in parts])

    def _parts(self, size: int) -> list[tuple[slice, float, float]]:
        """Give the columns of an embedding that a discriminant each reads, its shrinkage, and its logits' weight."""
        states = size - self.units * len(self.trunk_.layers)
        return [(slice(0, states), self.shrinkage, 1.0), (slice(states, size), UNITS_SHRINKAGE, UNITS_SHARE)]

    def _fit_gate(self, embedded: Floats, targets: npt.NDArray[Any], weight: Floats) -> VoiceGate:
        """Fit on (clips, views, size) and on sounds that are no voices; it measures what `embed` gives."""
        from emovox.models.background import background_sounds

        _, views, size = embedded.shape
        background = self._embed(Versions(background_sounds(BACKGROUND_SOUNDS)), of=0)
        return fit_voice_gate(
            embedded.reshape(-1, size) - self.layer_.mean,
            np.repeat(np.searchsorted(self.classes_, targets), views),
            _of_views(weight, views),
            background - self.layer_.mean,
        )

    def _hear_others(
        self, embedded: Floats, targets: npt.NDArray[Any], speakers: npt.NDArray[Any] | None, weight: Floats
    ) -> tuple[float, float | None]:
        """Find `temperature_` and `spread_` by speakers that are held out in turn."""
        logits = np.zeros((len(targets), len(self.classes_)))
        tested = np.zeros(len(targets), dtype=bool)
        if speakers is not None:
            for train, test in self._speaker_folds(targets, speakers):
                layer = self._fit_layer(embedded[train], targets[train], speakers[train], weight[train])
                logits[test] = layer.logits(embedded[test, 0])
                tested[test] = True
        if speakers is None or not tested.any():
            logger.warning("no speaker can be held out to find a temperature: the model will be too sure of itself")
            return 1.0, None
        truth = np.searchsorted(self.classes_, targets)
        temperature = typical_temperature(logits[tested], truth[tested], speakers[tested])
        return temperature, spread_of_voices(logits[tested] / temperature, speakers[tested])

    def _speaker_folds(
        self, targets: npt.NDArray[Any], speakers: npt.NDArray[Any]
    ) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Divide clips into folds of speakers, five at most; folds whose training part lacks an emotion are left out.

        Yields:
            Rows to train on, rows to test.
        """
        if len(np.unique(speakers)) < 2:
            return
        # Shuffled, folds are even in speakers; unshuffled in clips, so that one would hold out all the small speakers.
        folds = GroupKFold(min(5, len(np.unique(speakers))), shuffle=True, random_state=self.random_state)
        for train, test in folds.split(targets, targets, speakers):
            if len(np.unique(targets[train])) == len(self.classes_):
                yield train, test


def balance(targets: npt.NDArray[Any], corpora: npt.NDArray[Any] | None) -> Floats:
    """Weigh clips so that emotions count alike in each corpus, and corpora alike."""
    parts = [targets] if corpora is None else [targets, corpora]
    _, cell, size = np.unique(
        np.stack([part.astype(str) for part in parts]), axis=1, return_inverse=True, return_counts=True
    )
    weight = 1.0 / size[cell.ravel()]
    return np.asarray(weight / weight.mean())


def _of_views(weight: Floats, views: int) -> Floats:
    """Weigh views of clips so that the clip itself counts as much as all its augmented versions together."""
    shares = np.ones(views)
    shares[0] = max(1, views - 1)
    return np.asarray((weight[:, None] * shares / shares.mean()).ravel())
