"""What is kept of a training, and the bundles that are made of it or of another bundle."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emovox._files import replacing
from emovox.errors import ModelError
from emovox.evaluation.card import model_card
from emovox.evaluation.cells import write_text
from emovox.evaluation.splitting import Indices
from emovox.evaluation.tasks import Data, fit_model
from emovox.inference.bundle import Bundle, BundleMetadata, resolve
from emovox.models.catalog import find

CHECKPOINT = "checkpoint"
"""Name of the folder in a run that holds the state of the network."""


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        path: the bundle. size: its size in bytes.
        meta: its description.
        model: the fitted classifier.
    """

    path: Path
    size: int
    meta: BundleMetadata
    model: Any


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that a network's training depends on.

    Attributes:
        model, parameters, seed: what to create from the catalogue.
        data: what it is shown; `fit` and `validation` are row numbers of it.
        meta: the description of the bundle to be.
    """

    model: str
    parameters: Mapping[str, object]
    seed: int
    data: Data
    fit: Indices
    validation: Indices
    meta: BundleMetadata


def keep_run(folder: Path, run: Run) -> None:
    """Write a run into its folder."""
    with replacing(folder / "inputs.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            values=run.data.values,
            truth=run.data.truth,
            speakers=run.data.speakers,
            fit=run.fit,
            validation=run.validation,
        )
    document = {
        "model": run.model,
        "parameters": dict(run.parameters),
        "seed": run.seed,
        "meta": json.loads(run.meta.to_json()),
    }
    write_text(folder / "run.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Read what `keep_run` wrote.

    Raises:
        ModelError: if the folder is no run of a network, or is damaged.
    """
    try:
        document = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
        with np.load(Path(folder) / "inputs.npz", allow_pickle=False) as kept:
            data = Data(kept["values"], kept["truth"], kept["speakers"])
            fit, validation = kept["fit"], kept["validation"]
        meta = BundleMetadata.from_json(json.dumps(document["meta"]))
        return Run(document["model"], document["parameters"], document["seed"], data, fit, validation, meta)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"is not the folder of a network's training ({error})",
            code="not_a_run",
            path=folder,
            remedy="Give the .run folder that `emovox train` made of a network; other models are trained in one go.",
        ) from error


def export_run(folder: str | os.PathLike[str], out: str | os.PathLike[str]) -> Trained:
    """Make a bundle of a network's training, finished or not: of the epochs that its checkpoint holds.

    Args:
        folder: of the training.
        out: the bundle to write.

    Raises:
        ModelError: if the folder is no run of a network, or no epoch is finished.
    """
    run = read_run(folder)
    done = _finished_epochs(Path(folder) / CHECKPOINT)
    spec = find(run.model)
    model = spec.create(seed=run.seed, **run.parameters)
    wanted = model.get_params()["epochs"]
    # With as many epochs as are done already, fit only takes up the checkpoint.
    model.set_params(epochs=min(done, wanted), checkpoint_dir=str(Path(folder) / CHECKPOINT))
    fit_model(model, run.data, run.fit, run.validation)
    meta = dataclasses.replace(run.meta, training={**run.meta.training, "epochs": done, "epochs_wanted": wanted})
    return write_bundle(model, Path(out), dataclasses.replace(meta, card=model_card(meta)))


def write_bundle(model: Any, path: Path, meta: BundleMetadata) -> Trained:
    """Export a fitted model."""
    from emovox.models.export import export

    return Trained(path, export(model, path, meta), meta, model)


def redescribe(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    version: str | None = None,
    licence: str | None = None,
    card: str | None = None,
) -> BundleMetadata:
    """Write a bundle again with another description; its graph and weights stay as they are.

    Args:
        source: a bundle's file, or the name of one that comes with emovox.
        out: the file to write; may be the same.
        name, version, licence, card: what replaces the old ones; None leaves them. Without a card, one is written
            from the description.

    Raises:
        BundleError: if `source` is no bundle.
        ParameterError: if a new value makes no sense.
    """
    import onnx

    from emovox.inference.container import seal

    path = resolve(source)
    bundle = Bundle.load(path)
    old = bundle.meta
    meta = dataclasses.replace(
        old, name=name or old.name, version=version or old.version, licence=licence or old.licence
    )
    meta = dataclasses.replace(meta, card=model_card(meta) if card is None else card)
    model = onnx.load_model_from_string(path.read_bytes())
    model.ClearField("metadata_props")
    data = seal(model.SerializeToString(deterministic=True), meta.to_json())
    Bundle(data, threads=1)  # what cannot be loaded again is not written
    with replacing(Path(out)) as file:
        file.write_bytes(data)
    return meta


def _finished_epochs(folder: Path) -> int:
    """Count the epochs in a checkpoint."""
    import torch

    path = folder / "last.ckpt"
    if not path.exists():
        raise ModelError("has no finished epoch yet", path=folder, remedy="Run the same `emovox train` command again.")
    # Whether it can be trusted in all else is for `fit` to say; here the number is needed only.
    state = torch.load(path, map_location="cpu", weights_only=True)
    return int(state["epoch"]) + 1
