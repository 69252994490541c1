"""speechnet: a pretrained spectrogram network that works on voices it has never heard.

Waveform -> log-mel spectrogram -> the first blocks of Whisper's encoder (frozen) -> mean and standard deviation over
time of some blocks -> standardisation -> multinomial logistic regression -> temperature. The trunk stays as it was
pretrained, so that a few thousand clips cannot bend it towards their speakers; what is learned is one linear layer,
from each clip and several augmented versions of it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from emovox.audio import Samples
from emovox.errors import MissingExtraError, ModelError, ParameterError
from emovox.models.embeddings import EmbeddingCache

if TYPE_CHECKING:
    import onnx
    import torch

    from emovox.models.whisper import Trunk

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
MAX_SECONDS = 30.0
"""Longest clip in one call: what the trunk was pretrained on."""


class SpeechNet(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Emotion from a waveform, through a frozen pretrained trunk.

    Args:
        weights: safetensors file with Whisper encoder weights.
        pooled_blocks: encoder blocks, counted from 1, whose mean and standard deviation over time are used; the trunk
            ends with the last of them.
        weight_bits: the trunk's weights are rounded to so many bits, in training as in the bundle; None for float32.
        views: augmented versions of each training clip that are learned beside it, >= 0.
        C: inverse strength of the L2 penalty of the logistic regression.
        balance: ``speaker`` weighs a clip by one over the square root of how many its speaker has of its emotion, if
            `fit` knows the speakers; ``class`` by one over the root of how many have its emotion; None counts clips.
        cache_dir: where embeddings are kept between runs; None keeps them nowhere. The default is the user's cache.
        progress: called with (clips done, clips in all) while embedding.
        random_state: seed of the augmentation.

    Attributes:
        classes_: emotions, sorted.
        temperature_: by which logits are divided; from held-out training speakers, 1.0 where `fit` knew none.
        coef_, intercept_: linear layer on the embedding, of shapes (classes, size) and (classes,).
        mean_: mean embedding of the training clips, shape (size,).
        pretrained_: where the trunk's weights come from, and their licence.
    """

    def __init__(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        pooled_blocks: Sequence[int] = (2, 3),
        weight_bits: int | None = 8,
        views: int = 3,
        C: float = 3e-3,
        balance: str | None = "speaker",
        cache_dir: str | os.PathLike[str] | None = "default",
        progress: Callable[[int, int], None] | None = None,
        random_state: int = 7,
    ) -> None:
        self.weights = weights
        self.pooled_blocks = pooled_blocks
        self.weight_bits = weight_bits
        self.views = views
        self.C = C
        self.balance = balance
        self.cache_dir = cache_dir
        self.progress = progress
        self.random_state = random_state

    def fit(self, X: Sequence[Samples], y: npt.ArrayLike, *, groups: npt.ArrayLike | None = None) -> Self:
        """Learn the linear layer.

        Args:
            X: clips, each float32 of shape (samples,) at 16 kHz.
            y: emotion of each clip, shape (n,).
            groups: speaker of each clip, shape (n,). With two or more, balance and temperature use them.
        """
        targets = np.asarray(y)
        speakers = None if groups is None else np.asarray(groups)
        if len(X) != len(targets) or (speakers is not None and len(speakers) != len(targets)):
            raise ParameterError(f"{len(X)} clips, {len(targets)} labels: they must be as many")
        if self.balance not in ("speaker", "class", None):
            raise ParameterError(f"balance must be 'speaker', 'class' or None, got {self.balance!r}")
        self.classes_ = np.unique(targets)
        if len(self.classes_) < 2:
            raise ParameterError("at least two emotions are needed to learn from")
        self.trunk_ = self._build_trunk()
        embedded = np.stack([self._embed(X, view=view, of=self.views + 1) for view in range(self.views + 1)], axis=1)
        weight = self._clip_weights(targets, speakers)
        self.temperature_ = self._find_temperature(embedded, targets, speakers, weight)
        self.mean_, self.coef_, self.intercept_ = self._fit_head(embedded, targets, weight)
        return self

    def embed(self, X: Sequence[Samples]) -> Floats:
        """Give the pooled hidden states, shape (n, 2 * width * number of pooled blocks)."""
        check_is_fitted(self)
        return self._embed(X)

    def decision_function(self, X: Sequence[Samples]) -> Floats:
        """Give calibrated logits, shape (n, classes)."""
        logits = self.embed(X) @ self.coef_.T + self.intercept_
        return np.asarray(logits / self.temperature_)

    def predict_proba(self, X: Sequence[Samples]) -> Floats:
        """Give probabilities, shape (n, classes), columns in the order of `classes_`."""
        return _softmax(self.decision_function(X))

    def predict(self, X: Sequence[Samples]) -> npt.NDArray[Any]:
        """Give the likeliest emotion of each clip, shape (n,)."""
        best: npt.NDArray[Any] = self.classes_[self.decision_function(X).argmax(axis=1)]
        return best

    def to_onnx_model(self) -> onnx.ModelProto:
        """Build the graph of a bundle: ``waveform`` (batch, samples) to ``probabilities`` (batch, classes).

        A second output, ``embedding``, is what the linear layer sees.
        """
        check_is_fitted(self)
        import torch

        from emovox.models.packing import pack_weights

        network = _whole_network(self)
        example = torch.zeros(2, 32_000)  # two, or the exporter would take the batch for a constant
        example[:, ::100] = 1.0
        samples = torch.export.Dim("samples", min=1_600, max=round(MAX_SECONDS * 16_000))
        batch = torch.export.Dim("batch", min=1, max=1_024)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its own internals, as its log is
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                network,
                (example,),
                input_names=["waveform"],
                output_names=["probabilities", "embedding"],
                dynamic_shapes={"waveform": {0: batch, 1: samples}},
                dynamo=True,
                verbose=False,
            )
        if program is None:
            raise ModelError("torch gave no graph", remedy="Install torch 2.13.")
        model: onnx.ModelProto = program.model_proto
        return pack_weights(model, bits=self.weight_bits) if self.weight_bits else model

    def _build_trunk(self) -> Trunk:
        if self.weights is None:
            raise ModelError(
                "speechnet needs pretrained encoder weights",
                remedy="Give a safetensors file of openai/whisper-base with --set weights=FILE.",
            )
        blocks = list(self.pooled_blocks)
        if not blocks or min(blocks) < 1 or self.views < 0:
            raise ParameterError("pooled_blocks counts from 1 and names at least one; views is at least 0")
        try:
            from emovox.models.whisper import describe_weights, load_trunk
        except ModuleNotFoundError as error:
            raise MissingExtraError.for_extra("deep", "speechnet") from error
        trunk = load_trunk(self.weights, blocks=max(blocks), weight_bits=self.weight_bits)
        self.pretrained_ = describe_weights(self.weights)
        return trunk

    def _embed(self, X: Sequence[Samples], *, view: int = 0, of: int = 1) -> Floats:
        """Embed each clip (view 0) or an augmented version of it (views 1 to `of` - 1)."""
        import torch

        from emovox.models.whisper import digest

        key = f"speechnet-1/{digest(self.trunk_.state_dict())}/{','.join(map(str, self.pooled_blocks))}"
        augment: Callable[[Samples, int], Samples] = _unchanged
        if view:
            from emovox.models.augment import AUGMENT_VERSION, Augmenter

            key += f"/augment-{AUGMENT_VERSION}/{self.random_state}/{view}"
            augment = Augmenter()
        cache = EmbeddingCache(self.cache_dir, key=key)

        def compute(clip: Samples, seed: int) -> npt.NDArray[np.float32]:
            sound = np.array(augment(clip, seed), dtype=np.float32)
            with torch.inference_mode():
                pooled: npt.NDArray[np.float32] = _pool(self.trunk_(torch.from_numpy(sound)[None]), self.pooled_blocks)[
                    0
                ].numpy()
            return pooled

        rows = []
        threads = torch.get_num_threads()
        # One clip a thread: clips are too short for several threads to share one well.
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            for row in pool.map(lambda clip: cache.get(clip, compute), X):
                rows.append(row)
                if self.progress is not None:
                    self.progress(view * len(X) + len(rows), of * len(X))
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
        return np.stack(rows)

    def _clip_weights(self, targets: npt.NDArray[Any], speakers: npt.NDArray[Any] | None) -> Floats:
        if self.balance is None:
            return np.ones(len(targets))
        parts = [targets] if self.balance == "class" or speakers is None else [targets, speakers]
        _, cell, size = np.unique(
            np.stack([part.astype(str) for part in parts]), axis=1, return_inverse=True, return_counts=True
        )
        # The square root: a speaker of 1,400 clips teaches more than one of 50, but not 28 times as much.
        weight = 1.0 / np.sqrt(size[cell.ravel()])
        return np.asarray(weight / weight.mean())

    def _fit_head(self, embedded: Floats, targets: npt.NDArray[Any], weight: Floats) -> tuple[Floats, Floats, Floats]:
        """Fit on (clips, views, size); give mean, and the layer with the standardisation folded in."""
        _, views, size = embedded.shape
        rows = embedded.reshape(-1, size)
        row_weight = np.repeat(weight, views) / views
        scaler = StandardScaler().fit(rows, sample_weight=row_weight)
        head = LogisticRegression(C=self.C, max_iter=500, tol=1e-3)
        head.fit(scaler.transform(rows), np.repeat(targets, views), sample_weight=row_weight)
        coef, intercept = head.coef_, head.intercept_
        if len(self.classes_) == 2:
            coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        coef = coef.astype(np.float64) / scaler.scale_
        mean = scaler.mean_.astype(np.float64)
        return mean, coef, intercept - coef @ mean

    def _find_temperature(
        self, embedded: Floats, targets: npt.NDArray[Any], speakers: npt.NDArray[Any] | None, weight: Floats
    ) -> float:
        """Choose the temperature by the likelihood of held-out speakers (Guo et al., 2017), all of them alike."""
        if speakers is None or len(np.unique(speakers)) < 2:
            return 1.0
        # Shuffled, folds are even in speakers; unshuffled in clips, so that one would hold out all the small speakers.
        folds = GroupKFold(min(3, len(np.unique(speakers))), shuffle=True, random_state=self.random_state)
        logits = np.zeros((len(targets), len(self.classes_)))
        tested = np.zeros(len(targets), dtype=bool)
        for train, test in folds.split(targets, targets, speakers):
            if len(np.unique(targets[train])) < len(self.classes_):
                continue
            _, coef, intercept = self._fit_head(embedded[train], targets[train], weight[train])
            logits[test] = embedded[test, 0] @ coef.T + intercept
            tested[test] = True
        if not tested.any():
            return 1.0
        truth = np.searchsorted(self.classes_, targets)
        candidates = np.geomspace(0.25, 8.0, 201)
        _, speaker, clips = np.unique(speakers, return_inverse=True, return_counts=True)
        alike = 1.0 / clips[speaker.ravel()]
        losses = [_cross_entropy(logits[tested] / t, truth[tested], alike[tested]) for t in candidates]
        return float(candidates[int(np.argmin(losses))])


def _unchanged(clip: Samples, seed: int) -> Samples:
    del seed
    return clip


def _pool(states: list[torch.Tensor], blocks: Sequence[int]) -> torch.Tensor:
    """Mean and standard deviation over time of each chosen block, side by side."""
    import torch

    parts = []
    for block in blocks:
        hidden = states[block - 1]
        mean = hidden.mean(dim=1)
        parts += [mean, (hidden - mean[:, None]).square().mean(dim=1).sqrt()]
    return torch.cat(parts, dim=1)


def _whole_network(model: SpeechNet) -> torch.nn.Module:
    import torch
    from torch import nn

    class Network(nn.Module):
        mean: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.trunk = model.trunk_
            coef, intercept = model.coef_ / model.temperature_, model.intercept_ / model.temperature_
            self.head = nn.Linear(coef.shape[1], coef.shape[0])
            # Around the mean embedding, so that float32 loses nothing to large sums that cancel.
            self.register_buffer("mean", torch.tensor(model.mean_, dtype=torch.float32))
            self.head.weight.data = torch.tensor(coef, dtype=torch.float32)
            self.head.bias.data = torch.tensor(intercept + coef @ model.mean_, dtype=torch.float32)

        def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            embedding = _pool(self.trunk(waveform), model.pooled_blocks)
            return torch.softmax(self.head(embedding - self.mean), dim=1), embedding

    return Network().eval()


def _softmax(logits: Floats) -> Floats:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def _cross_entropy(logits: Floats, truth: npt.NDArray[np.intp], weight: Floats) -> float:
    likelihood = _softmax(logits)[np.arange(len(truth)), truth]
    return float(np.average(-np.log(likelihood + 1e-12), weights=weight))
