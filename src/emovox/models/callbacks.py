"""What happens between two epochs: the journal of the training, and its progress bar."""

from __future__ import annotations

import math
import sys
import time
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from typing_extensions import override

from emovox.errors import ModelError
from emovox.models.training import Training

REDUCTION_FACTOR = 0.5
"""What the learning rate is multiplied by on a plateau, as in the study."""
_MIN_DELTA = 1e-4
"""How much lower the validation loss must be to count as progress for the learning rate: Keras' default."""


class Journal(Callback):
    """Keeps the learning curve, the best epoch and its weights, and reduces the learning rate on a plateau.

    All of it is saved in checkpoints, so that a resumed run continues it.

    Args:
        reduce_patience: epochs without progress of the validation loss after which the learning rate is halved;
            None never does it.

    Attributes:
        history: a list of one number an epoch for `loss`, `accuracy`, `val_loss`, `val_accuracy` (without validation
            data the last two are absent), `lr` and `seconds`.
        best_epoch: index of the epoch with the lowest validation loss; None without validation data.
        best_weights: the network's state after it.
        identity: digest of what is being trained, on what.
        stopped: whether early stopping has ended the training.
    """

    def __init__(self, *, reduce_patience: int | None, identity: str = "") -> None:
        self.reduce_patience = reduce_patience
        self.identity = identity
        self.history: dict[str, list[float]] = {}
        self.best_epoch: int | None = None
        self.best_weights: dict[str, torch.Tensor] = {}
        self.stopped = False
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._started = 0.0

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the optimiser in charge."""
        if self.reduce_patience is None:
            return
        self._plateau = ReduceLROnPlateau(
            trainer.optimizers[0],
            factor=REDUCTION_FACTOR,
            patience=self.reduce_patience - 1,  # torch acts one epoch after its patience, Keras with it
            threshold=_MIN_DELTA,
            threshold_mode="abs",
        )
        if self._plateau_state is not None:
            self._plateau.load_state_dict(self._plateau_state)

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch down.

        Raises:
            ModelError: if the loss is no longer a finite number.
        """
        training = cast("Training", pl_module)
        metrics = training.metrics()
        if not math.isfinite(metrics["loss"]):
            raise ModelError(
                f"the training diverged: the loss of epoch {trainer.current_epoch + 1} is {metrics['loss']}",
                code="diverged",
                remedy="Lower learning_rate, or set standardize=True.",
            )
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        for key, value in (*metrics.items(), ("lr", rate), ("seconds", time.perf_counter() - self._started)):
            self.history.setdefault(key, []).append(float(value))
        self.stopped = trainer.should_stop
        if "val_loss" in metrics:
            self._judge(metrics["val_loss"], training)

    def _judge(self, loss: float, module: Training) -> None:
        if self.best_epoch is None or loss < self.history["val_loss"][self.best_epoch]:
            self.best_epoch = len(self.history["val_loss"]) - 1
            self.best_weights = {key: value.detach().clone() for key, value in module.network.state_dict().items()}
        if self._plateau is not None:
            self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint keeps: numbers, texts and tensors only."""
        return {
            "identity": self.identity,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "stopped": self.stopped,
            "plateau": None if self._plateau is None else self._plateau.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.history = {key: list(values) for key, values in state_dict["history"].items()}
        self.best_epoch = state_dict["best_epoch"]
        self.best_weights = state_dict["best_weights"]
        self.stopped = state_dict["stopped"]
        self._plateau_state = state_dict["plateau"]


class EpochBar(Callback):
    """One progress bar over the epochs, on stderr; absent when stderr is not a terminal.

    Args:
        title: stands before the bar.
        epochs: at most this many.
    """

    def __init__(self, title: str, epochs: int) -> None:
        self.title = title
        self.epochs = epochs
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bars.add_task(title, total=epochs)

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        self._bars.start()
        self._bars.update(self._task, completed=trainer.current_epoch)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Advance the bar and show the epoch's metrics."""
        metrics = cast("Training", pl_module).metrics()
        shown = "  ".join(f"{key} {value:.3f}" for key, value in metrics.items())
        self._bars.update(self._task, advance=1, description=f"{self.title}  {shown}")

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the bar."""
        self._bars.stop()

    @override
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Remove the bar when the training breaks off."""
        self._bars.stop()
