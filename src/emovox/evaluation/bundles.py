"""Evaluates a finished bundle on rows: nothing is trained, and what it was trained on is held against the rows."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from emovox.audio import MODEL_RATE, Waveform
from emovox.errors import ProtocolError
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import TEST, Cell, CellKey, Predictions, Views
from emovox.evaluation.inputs import Inputs
from emovox.evaluation.planning import describe_protocol
from emovox.evaluation.provenance import available_cores, provenance
from emovox.evaluation.results import Results, load_results, open_study
from emovox.evaluation.splitting import EvaluationProtocol, Fold
from emovox.evaluation.tasks import align, describe_error
from emovox.inference.bundle import Bundle, BundleMetadata, resolve
from emovox.inference.recognizer import Recognizer

logger = logging.getLogger(__name__)

_CHUNK = 256


@dataclass(frozen=True)
class AsItIs(EvaluationProtocol):
    """Every row is tested, none is trained on.

    Args:
        overlap: corpora of the table that the model was trained on; None if it does not say what it was trained on.
    """

    name: ClassVar[str] = "bundle"
    overlap: tuple[str, ...] | None = ()

    @property
    def key(self) -> str:
        """``bundle``."""
        return "bundle"

    @property
    def sentence(self) -> str:
        """Nothing is trained; and what is known of the model's own training."""
        if self.overlap is None:
            return "the saved model as it is; what it was trained on is not known"
        if self.overlap:
            return f"the saved model as it is, which WAS TRAINED on {', '.join(self.overlap)}"
        return "the saved model as it is, trained on other corpora"

    def separates_speakers(self, table: pd.DataFrame) -> bool:
        """Whether the model is known to be trained on other corpora only."""
        del table
        return self.overlap == ()

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Give the one fold."""
        return [Fold("all rows", np.empty(0, dtype=np.intp), np.arange(len(table)))]


def input_kind(meta: BundleMetadata) -> Literal["classic", "waveform"]:
    """Say which inputs a bundle takes of `read_inputs`."""
    # Features are kept at each file's own rate; a bundle that wants them at another one gets the sound.
    return "classic" if meta.input == "classic" and meta.sample_rate is None else "waveform"


def trained_on(meta: BundleMetadata, table: pd.DataFrame) -> tuple[str, ...] | None:
    """Name the corpora of a table that a bundle was trained on; None if the bundle does not say what it knows."""
    corpora = meta.training.get("corpora")
    if not corpora:
        return None
    known = {str(corpus.get("name", "")) for corpus in corpora}
    return tuple(sorted(known & set(table["corpus"])))


def evaluate_bundle(
    source: str | os.PathLike[str],
    inputs: Inputs,
    *,
    out: str | os.PathLike[str],
    notes: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Test a bundle on all rows and keep the result like any other cell of the study in `out`.

    Args:
        source: a bundle's file, or the name of one that comes with emovox.
        inputs: rows, with the kind that `input_kind` says.
        out: folder of the study.
        notes: see `emovox.evaluation.study.evaluate`.
        progress: called with (clips done, clips in all).

    Raises:
        BundleError: if the bundle cannot be used.
        ProtocolError: if rows have an emotion that the bundle does not know, or `out` holds another study.
    """
    bundle = Bundle.load(source)
    strange = sorted(set(inputs.table["emotion"]) - set(bundle.meta.labels))
    if strange:
        raise ProtocolError(
            f"the model knows {', '.join(bundle.meta.labels)}, the rows have {', '.join(strange)} too",
            path=source,
            remedy=f"Choose its labels: --labels {','.join(sorted(bundle.meta.labels))}",
        )
    labels = tuple(sorted(bundle.meta.labels))
    store: CellStore = open_study(Path(out), inputs, labels, notes or {})
    protocol = AsItIs(trained_on(bundle.meta, inputs.table))
    if protocol.overlap != ():
        logger.warning("%s: %s", bundle.meta.name, protocol.sentence)
    cell, views = _test(bundle, resolve(source), inputs, protocol, labels, progress)
    store.write(cell, views)
    return load_results(out)


def _test(
    bundle: Bundle,
    path: Path,
    inputs: Inputs,
    protocol: AsItIs,
    labels: tuple[str, ...],
    progress: Callable[[int, int], None] | None,
) -> tuple[Cell, Views | None]:
    meta = bundle.meta
    (fold,) = protocol.folds(inputs.table)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    views: Views | None = None
    error = None
    started = time.perf_counter()
    try:
        given = _probabilities(bundle, inputs, progress)
        aligned = align(given, meta.labels, labels)
        views = {TEST: Predictions.of(fold.test, aligned)}
    except Exception as caught:  # recorded like the failure of any other cell
        error = describe_error(caught)
    seconds = time.perf_counter() - started
    cell = Cell(
        key=CellKey(model=f"{meta.name} {meta.version} ({checksum[:8]})", protocol=protocol.key, fold=0, seed=0),
        protocol={**describe_protocol(protocol, inputs.table, [fold]), "fold": fold.name},
        clips={"train": 0, "validation": 0, "test": len(fold.test)},
        speakers={"train": 0, "validation": 0, "test": len(set(inputs.speakers) - {""})},
        inputs={"kind": meta.input, "version": meta.feature_version or ""},
        seconds={"train": 0.0, "test": round(seconds, 4)},
        threads=available_cores(),
        provenance=provenance(),
        error=error,
        details={
            "family": "bundle",
            "sha256": checksum,
            "overlap": list(protocol.overlap or ()),
            "trained_on": list(meta.training.get("corpora", ())),
        },
    )
    return cell, views


def _probabilities(
    bundle: Bundle, inputs: Inputs, progress: Callable[[int, int], None] | None
) -> npt.NDArray[np.float32]:
    count = len(inputs.table)
    if input_kind(bundle.meta) == "classic":
        features = inputs.values["classic"]

        def run(rows: slice) -> npt.ArrayLike:
            return bundle.run(features[rows])
    else:
        waveforms, recognizer = inputs.values["waveform"], Recognizer(bundle)

        def run(rows: slice) -> npt.ArrayLike:
            found = [recognizer.predict(Waveform(samples, MODEL_RATE)).probabilities for samples in waveforms[rows]]
            return [[one[label] for label in bundle.meta.labels] for one in found]

    given = np.zeros((count, len(bundle.meta.labels)), dtype=np.float32)
    for start in range(0, count, _CHUNK):
        end = min(start + _CHUNK, count)
        given[start:end] = run(slice(start, end))
        if progress is not None:
            progress(end, count)
    return given
