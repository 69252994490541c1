"""The reference study's networks as a scikit-learn classifier, trained by Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data

from emovox.errors import ParameterError
from emovox.models.architectures import ARCHITECTURES
from emovox.models.callbacks import EpochBar, Journal
from emovox.models.fitting import Checkpoint, identity, run, split_off_validation
from emovox.models.memory import keep_freed_memory
from emovox.models.networks import Network
from emovox.models.networks_onnx import onnx_model
from emovox.models.optimizers import OPTIMIZERS
from emovox.models.training import Batches, Training

if TYPE_CHECKING:
    from onnx import ModelProto

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[Any]
_PREDICTION_BATCH = 1024
PRECISIONS = ("32", "bf16-mixed")
DEVICES = ("auto", "cpu", "cuda")


class NetworkClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """One of the reference study's networks.

    The defaults are the study's: Adam, 100 epochs, batches of 128, unscaled features, the last epoch's weights.

    Args:
        network: a name of `emovox.models.architectures.ARCHITECTURES`.
        optimizer: a name of `emovox.models.optimizers.OPTIMIZERS`, with Keras' defaults.
        learning_rate: > 0; None for the optimiser's own.
        epochs: at most this many, >= 1.
        batch_size: rows a step, >= 1.
        standardize: subtract the training data's mean and divide by its standard deviation, inside the network.
        early_stopping: stop when the validation loss has not fallen for `patience` epochs, and take the weights of
            the best epoch.
        patience: epochs, >= 1.
        reduce_lr: halve the learning rate when the validation loss has not fallen for `reduce_lr_patience` epochs.
        reduce_lr_patience: epochs, >= 1.
        validation_fraction: part of the training data that is set aside where early stopping or learning rate
            reduction need validation data and `fit` gets none; 0 < fraction < 1.
        class_weight: None, ``"balanced"`` or a weight for each class, as for scikit-learn's classifiers.
        random_state: seed >= 0 of weights, order, dropout and validation split. The same seed gives the same numbers
            on the same machine.
        device: ``"auto"`` (a GPU where there is one), ``"cpu"`` or ``"cuda"``.
        precision: ``"32"`` or ``"bf16-mixed"``.
        checkpoint_dir: where to save the state after each epoch. When a run was killed, calling `fit` again with
            the same parameters and data goes on from there; with more `epochs` a finished run is prolonged. Without
            it nothing is written to disk.
        progress: show a progress bar on stderr where that is a terminal.

    Attributes:
        classes_: the labels, sorted, shape (classes,).
        n_features_in_: length of the vectors.
        module_: the fitted `Network`, on the CPU.
        history_: one number an epoch for each of `loss`, `accuracy`, `val_loss`, `val_accuracy` (the last two only
            with validation data), `lr` and `seconds`. Losses include the L2 penalty, as Keras' do.
        n_iter_: epochs that were run.
        best_epoch_: the epoch with the lowest validation loss, counted from 1; None without validation data.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(40, 180)).astype(np.float32)
        >>> y = np.where(X[:, 0] > 0, "happy", "sad")
        >>> model = NetworkClassifier("cnn-1", epochs=2).fit(X, y)
        >>> model.predict_proba(X).shape, len(model.history_["loss"])
        ((40, 2), 2)
    """

    def __init__(
        self,
        network: str = "cnn-1",
        *,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        epochs: int = 100,
        batch_size: int = 128,
        standardize: bool = False,
        early_stopping: bool = False,
        patience: int = 10,
        reduce_lr: bool = False,
        reduce_lr_patience: int = 5,
        validation_fraction: float = 0.2,
        class_weight: str | dict[Any, float] | None = None,
        random_state: int = 0,
        device: str = "auto",
        precision: str = "32",
        checkpoint_dir: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.patience = patience
        self.reduce_lr = reduce_lr
        self.reduce_lr_patience = reduce_lr_patience
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.progress = progress

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Self:
        """Train the network from the start, or go on from the checkpoint of a run that was broken off.

        Args:
            X: features, shape (n, features); the study's have 180.
            y: labels, shape (n,).
            validation: features and labels that are measured after each epoch and never trained on.
            groups: shape (n,), such as speakers. Where validation data are set aside from X, no group is on both
                sides.

        Raises:
            ParameterError: if a parameter makes no sense, or the validation data do not go with the training data.
            ModelError: if the training diverges, or the checkpoint belongs to other data or parameters.
        """
        self._check_parameters()
        features, labels = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(labels)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        train = (features, indices)
        held_out = None if validation is None else self._check_validation(*validation)
        if held_out is None and (self.early_stopping or self.reduce_lr):
            rows, held_out_rows = split_off_validation(
                indices, groups, fraction=self.validation_fraction, seed=self.random_state
            )
            train = (features[rows], indices[rows])
            held_out = (features[held_out_rows], indices[held_out_rows])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self._train(train, held_out)
        return self

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Give the probability of each class, shape (n, classes), in the order of `classes_`."""
        check_is_fitted(self)
        features = torch.tensor(validate_data(self, X, reset=False, dtype=np.float32))
        device = self._device()
        network = self.module_.to(device).eval()
        with torch.inference_mode():
            parts = [network(part.to(device)).softmax(dim=1).cpu() for part in torch.split(features, _PREDICTION_BATCH)]
        self.module_.to("cpu")
        return torch.cat(parts).numpy()

    def predict(self, X: npt.ArrayLike) -> Labels:
        """Give the most probable label of each row, shape (n,)."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most_probable])

    def to_onnx_model(self) -> ModelProto:
        """Give the network as an ONNX graph: `features` (batch, features) in, `probabilities` (batch, classes) out."""
        check_is_fitted(self)
        return onnx_model(self.module_, features=self.n_features_in_)

    def _check_parameters(self) -> None:
        """Refuse values that make no sense, before anything is computed."""
        for name, known in (("network", ARCHITECTURES), ("optimizer", OPTIMIZERS)):
            _require(getattr(self, name) in known, name, getattr(self, name), f"one of {', '.join(known)}")
        _require(self.device in DEVICES, "device", self.device, f"one of {', '.join(DEVICES)}")
        _require(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        for name in ("epochs", "batch_size", "patience", "reduce_lr_patience"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.random_state >= 0, "random_state", self.random_state, "at least 0")
        rate, fraction = self.learning_rate, self.validation_fraction
        _require(rate is None or rate > 0, "learning_rate", rate, "above 0, or None")
        _require(0 < fraction < 1, "validation_fraction", fraction, "between 0 and 1")

    def _check_validation(self, X: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Features, Labels]:
        features, labels = check_array(X, dtype=np.float32), np.asarray(y)
        check_consistent_length(features, labels)
        if features.shape[1] != self.n_features_in_:
            raise ParameterError(
                f"validation data have {features.shape[1]} features, training data {self.n_features_in_}"
            )
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ParameterError(
                f"validation data have labels that no training row has: {', '.join(map(str, unknown))}"
            )
        return features, np.searchsorted(self.classes_, labels)

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ParameterError("device='cuda', but torch finds no GPU", remedy="Use device='auto' or 'cpu'.")
        return torch.device(self.device)

    def _train(self, train: tuple[Features, Labels], validation: tuple[Features, Labels] | None) -> None:
        """Train `module_` and set what else is learned."""
        device = self._device()
        keep_freed_memory()
        training = self._training(*train)
        journal = Journal(
            reduce_patience=self.reduce_lr_patience if self.reduce_lr else None,
            identity="" if self.checkpoint_dir is None else self._identity(*train, *(validation or ())),
        )
        run(
            training,
            journal,
            batches=_batches(train, self.batch_size, device, seed=self.random_state),
            validation=None if validation is None else _batches(validation, _PREDICTION_BATCH, device, seed=None),
            epochs=self.epochs,
            patience=self.patience if self.early_stopping else None,
            device=device,
            precision=self.precision,
            checkpoint=None if self.checkpoint_dir is None else Checkpoint(self.checkpoint_dir),
            callbacks=[EpochBar(self.network, self.epochs)] if self.progress else [],
        )
        if self.early_stopping:
            training.network.load_state_dict(journal.best_weights)
        self.module_ = training.network.to("cpu").eval()
        self.history_ = journal.history
        self.n_iter_ = len(journal.history["loss"])
        self.best_epoch_ = None if journal.best_epoch is None else journal.best_epoch + 1

    def _training(self, features: Features, labels: Labels) -> Training:
        network = Network(ARCHITECTURES[self.network], features=self.n_features_in_, classes=len(self.classes_))
        if self.standardize:
            scaler = StandardScaler().fit(features)
            network.mean.copy_(torch.from_numpy(scaler.mean_))
            network.scale.copy_(torch.from_numpy(scaler.scale_))
        weights = None
        if self.class_weight is not None:
            balanced = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[labels])
            weights = torch.from_numpy(balanced).float()
        return Training(
            network,
            optimizer=OPTIMIZERS[self.optimizer],
            learning_rate=self.learning_rate,
            class_weights=weights,
            seed=self.random_state,
        )

    def _identity(self, *arrays: npt.NDArray[Any]) -> str:
        free = {"epochs", "device", "checkpoint_dir", "progress"}  # may differ between a run and its continuation
        kept = {key: value for key, value in self.get_params().items() if key not in free}
        return identity(kept, self.classes_, *arrays)


def _batches(data: tuple[Features, Labels], size: int, device: torch.device, *, seed: int | None) -> Batches:
    features, labels = (torch.tensor(array, device=device) for array in data)
    return Batches(features, labels, batch_size=size, seed=seed)


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ParameterError(f"{name} is {value!r}, it must be {wanted}")
