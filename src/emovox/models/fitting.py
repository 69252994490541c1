"""How a training is run: quietly, safely interrupted, and continued from its checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from emovox.errors import ModelError, ParameterError
from emovox.models.callbacks import Journal
from emovox.models.training import Batches, Training

Rows = npt.NDArray[np.intp]


def split_off_validation(
    labels: npt.NDArray[Any], groups: npt.ArrayLike | None, *, fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Choose rows for validation: stratified by label and, with groups, with no group on both sides.

    Args:
        labels: shape (n,).
        groups: shape (n,), such as speakers; None if rows are independent.
        fraction: part that is set aside, 0..1; with groups, of as many groups as come closest.
        seed: of the choice.

    Returns:
        Indices of the rows to train on and of those to validate on.

    Raises:
        ParameterError: if there are too few rows of a label, or fewer than two groups.
    """
    splitter: Any
    if groups is None:
        splitter = StratifiedShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
    else:
        folds = min(max(2, round(1 / fraction)), len(np.unique(groups)))
        splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed) if folds > 1 else None
    try:
        if splitter is None:
            raise ValueError("all rows belong to one group")
        train, validation = next(splitter.split(labels, labels, groups))
    except ValueError as error:
        raise ParameterError(
            f"cannot set validation data aside: {error}", remedy="Pass validation=(X, y) to fit."
        ) from error
    if len(np.unique(labels[train])) < len(np.unique(labels)):
        raise ParameterError(
            "cannot set validation data aside: some label belongs to one group only",
            remedy="Pass validation=(X, y) to fit.",
        )
    return train, validation


def identity(parameters: Mapping[str, object], *arrays: npt.NDArray[Any]) -> str:
    """Digest what is being trained, on what: two runs of the same identity give the same numbers.

    Example:
        >>> identity({"seed": 1}, np.zeros(3)) == identity({"seed": 1}, np.zeros(3))
        True
        >>> identity({"seed": 1}, np.zeros(3)) == identity({"seed": 2}, np.zeros(3))
        False
    """
    digest = hashlib.sha256(repr(sorted(parameters.items())).encode())
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(
            np.ascontiguousarray(array).tobytes() if array.dtype.kind != "O" else repr(array.tolist()).encode()
        )
    return digest.hexdigest()


class Checkpoint:
    """The state of a training after its last finished epoch, in one file of `folder`.

    The file holds tensors, numbers and texts only and is read with ``weights_only=True``: reading it runs no code.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "last.ckpt"

    def restore(self, training: Training, journal: Journal) -> bool:
        """Load the state, if there is one.

        Returns:
            Whether there was one.

        Raises:
            ModelError: if the file is damaged or belongs to another training.
        """
        if not self.path.exists():
            return False
        remedy = "Use another checkpoint_dir, or delete the file to start again."
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            kept = state["callbacks"][journal.state_key]
            foreign = kept["identity"] != journal.identity
            if not foreign:
                training.load_state_dict(state["state_dict"])
                journal.load_state_dict(kept)
        except (
            RuntimeError,
            KeyError,
            TypeError,
            AttributeError,
            EOFError,
            ValueError,
            pickle.UnpicklingError,
        ) as error:
            raise ModelError(
                "cannot read the checkpoint, it is damaged or was not written by this version",
                code="bad_checkpoint",
                path=self.path,
                remedy=remedy,
            ) from error
        if foreign:
            raise ModelError(
                "the checkpoint belongs to a training with other parameters or data",
                code="foreign_checkpoint",
                path=self.path,
                remedy=remedy,
            )
        return True

    def callback(self) -> Callback:
        """Give the callback that writes the file, atomically, after each epoch."""
        return ModelCheckpoint(
            dirpath=self.path.parent,
            filename=self.path.stem,
            save_top_k=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )


def run(
    training: Training,
    journal: Journal,
    *,
    batches: Batches,
    validation: Batches | None,
    epochs: int,
    patience: int | None,
    device: torch.device,
    precision: str,
    checkpoint: Checkpoint | None,
    callbacks: list[Callback],
) -> None:
    """Train until `epochs` are done or, with `patience`, until the validation loss has not fallen for so long.

    Args:
        training, journal: are changed.
        batches, validation: on `device`.
        epochs: altogether, those of a checkpoint included.
        patience: epochs; None never stops early.
        device, precision: as `NetworkClassifier` has them.
        checkpoint: goes on from there and saves there.
        callbacks: further ones, such as a progress bar.

    Raises:
        ModelError: if the training diverges, or the checkpoint cannot be continued.
        KeyboardInterrupt: if the user interrupts; the checkpoint then holds all finished epochs.
    """
    resumed = checkpoint is not None and checkpoint.restore(training, journal)
    done = len(journal.history.get("loss", []))
    if done > epochs:
        raise ModelError(
            f"the checkpoint has {done} epochs already, {epochs} are wanted",
            code="foreign_checkpoint",
            path=None if checkpoint is None else checkpoint.path,
            remedy="Use another checkpoint_dir, or ask for more epochs.",
        )
    if journal.stopped or done == epochs:
        return
    stop = [] if patience is None else [EarlyStopping("val_loss", patience=patience, check_on_train_epoch_end=False)]
    save = [] if checkpoint is None else [checkpoint.callback()]
    with _quiet_and_interruptible():
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision=precision,  # type: ignore[arg-type]  # checked by the caller
            max_epochs=epochs,
            callbacks=[*stop, journal, *callbacks, *save],
            logger=False,
            enable_checkpointing=bool(save),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        path = checkpoint.path if resumed and checkpoint is not None else None
        try:
            trainer.fit(training, batches, validation, ckpt_path=path, weights_only=True)
        except SystemExit:
            if trainer.interrupted:  # Lightning ends the process on Ctrl-C; that is for the caller to decide
                raise KeyboardInterrupt from None
            raise


@contextlib.contextmanager
def _quiet_and_interruptible() -> Iterator[None]:
    """Silence Lightning's hints, and give Ctrl-C back its handler, which Lightning takes away when interrupted."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    handler = signal.getsignal(signal.SIGINT)
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            warnings.filterwarnings("ignore", message=".*(lightning|LeafSpec|Checkpoint directory).*")
            yield
    finally:
        logger.setLevel(level)
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGINT, handler)
