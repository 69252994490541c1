"""What Lightning trains: batches in memory, the loss, the optimiser and the metrics of one epoch."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from emovox.models.networks import Network
from emovox.models.optimizers import OptimizerSpec


class Batches:
    """Batches of tensors that are in memory, shuffled anew each epoch by a generator of its own.

    A DataLoader collates row by row, which takes longer than training on vectors as short as these.

    Args:
        features: shape (n, features).
        labels: shape (n,), class indices.
        batch_size: rows a batch; the last one is smaller.
        seed: of the order; None keeps the rows' own order.
    """

    def __init__(self, features: Tensor, labels: Tensor, *, batch_size: int, seed: int | None) -> None:
        self.features, self.labels = features, labels
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next batches have, so that a resumed run sees what it would have seen.

        It also counts after `iter`, until the first batch is taken.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.seed is None:
            for start in range(0, len(self.labels), self.batch_size):
                yield self.features[start : start + self.batch_size], self.labels[start : start + self.batch_size]
            return
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        order = torch.randperm(len(self.labels), generator=generator).to(self.labels.device)
        for rows in torch.split(order, self.batch_size):
            yield self.features[rows], self.labels[rows]


def epoch_seed(seed: int, epoch: int) -> int:
    """Derive the seed of one epoch, so that each epoch's randomness depends on nothing that came before."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])


class Training(pl.LightningModule):
    """Trains a network with cross-entropy, as Keras does: its penalty is part of every loss that is shown.

    Args:
        network: gives logits.
        optimizer: which one.
        learning_rate: None for the optimiser's own.
        class_weights: shape (classes,); a sample's loss is multiplied by its class's. None for ones. Not used in
            validation.
        seed: of dropout.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        network: Network,
        *,
        optimizer: OptimizerSpec,
        learning_rate: float | None,
        class_weights: Tensor | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.optimizer_spec = optimizer
        self.learning_rate = optimizer.learning_rate if learning_rate is None else learning_rate
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.seed = seed
        self._sums: dict[str, Tensor] = {}

    def configure_optimizers(self) -> Optimizer:
        """Build the optimiser with Keras' defaults."""
        module, _, name = self.optimizer_spec.torch_class.rpartition(":")
        factory: Any = getattr(importlib.import_module(module or "torch.optim"), name)
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer: Optimizer = factory(weights, lr=self.learning_rate, **self.optimizer_spec.options)
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Seed order and dropout for this epoch and start its sums."""
        cast("Batches", self.trainer.train_dataloader).set_epoch(self.current_epoch)
        torch.manual_seed(epoch_seed(self.seed + 1, self.current_epoch))
        self._sums = {prefix: torch.zeros(3, device=self.device) for prefix in ("", "val_")}

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Compute the loss of one batch."""
        return self._loss(batch, weights=self.class_weights, prefix="")

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Add one batch to the validation metrics."""
        self._loss(batch, weights=None, prefix="val_")

    def on_validation_epoch_end(self) -> None:
        """Tell early stopping."""
        self.log("val_loss", self.metrics()["val_loss"])

    def metrics(self) -> dict[str, float]:
        """Give `loss` and `accuracy` over this epoch's batches and, after validation, `val_loss` and `val_accuracy`."""
        metrics: dict[str, float] = {}
        for prefix, sums in self._sums.items():
            loss, correct, count = sums.tolist()
            if count:
                metrics |= {f"{prefix}loss": loss / count, f"{prefix}accuracy": correct / count}
        return metrics

    def _loss(self, batch: tuple[Tensor, Tensor], *, weights: Tensor | None, prefix: str) -> Tensor:
        features, labels = batch
        logits = self.network(features).float()
        losses = functional.cross_entropy(logits, labels, reduction="none")
        if weights is not None:
            losses = losses * weights[labels]
        loss = losses.mean() + self.network.penalty()
        with torch.no_grad():
            correct = (logits.argmax(dim=1) == labels).sum()
            self._sums[prefix] += torch.stack([loss.detach() * len(labels), correct, correct.new_tensor(len(labels))])
        return loss
