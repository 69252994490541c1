"""One file that holds a model and everything needed to use it; loaded with onnxruntime alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from emovox.errors import BundleError, ParameterError
from emovox.inference.container import Envelope, open_envelope
from emovox.inference.metadata import CLASSIC_INPUT_SIZE as CLASSIC_INPUT_SIZE
from emovox.inference.metadata import INPUT_NAMES as INPUT_NAMES
from emovox.inference.metadata import BundleMetadata as BundleMetadata
from emovox.inference.metadata import Identity as Identity

DEFAULT_BUNDLE = "emovox-base"
PROBABILITIES, EMBEDDING, REFERENCE = "probabilities", "embedding", "reference"
"""Names of the graph's outputs, and of the input of those that can adapt."""

Floats: TypeAlias = npt.NDArray[np.float32]


def default_bundle_path() -> Path:
    """Where the packaged default bundle lies."""
    return _packaged(DEFAULT_BUNDLE)


def packaged_bundles() -> dict[str, Path]:
    """Bundles that come with emovox: name and path."""
    return {path.stem: path for path in sorted(default_bundle_path().parent.glob("*.onnx"))}


class Bundle:
    """A loaded model. It may be used from several threads at a time.

    Args:
        data: the bundle's bytes.
        path: where they come from, for messages.
        threads: threads that one call computes with; None takes the processors at hand, at most 4.

    Raises:
        BundleError: ``not_a_bundle``, ``corrupt``, ``newer_version`` or ``unsafe``.

    Attributes:
        meta: the description.
        identity: which bundle it is.
        path: as given.
        size: of the file, in bytes.
        embedding_size: length of a clip's embedding; None if the model cannot adapt.
    """

    meta: BundleMetadata
    embedding_size: int | None

    def __init__(self, data: bytes, *, path: str | None = None, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ParameterError(f"threads must be at least 1, got {threads}")
        self.path = path
        self.size = len(data)
        envelope = open_envelope(data, path=path)
        self.meta = _described(envelope, path)
        self.identity = Identity(self.meta.name, self.meta.version, envelope.sha256)
        self._session = _session(data, path, threads or available_threads())
        self.embedding_size = self._check_graph()

    @classmethod
    def load(cls, source: str | os.PathLike[str] | None = None, *, threads: int | None = None) -> Bundle:
        """Load a bundle from a file, or by the name of one that comes with emovox (None: the default one).

        Raises:
            BundleError: as the constructor; ``not_found`` if there is no such file and no such name.
        """
        path = resolve(source)
        return cls(_read(path), path=str(path), threads=threads)

    def run(self, values: npt.ArrayLike, reference: npt.ArrayLike | None = None) -> Floats:
        """Compute probabilities.

        Args:
            values: float32; (n, 180) feature vectors for input ``classic``, (n, samples) equally long clips at
                `meta.sample_rate` for input ``waveform``.
            reference: embedding that is subtracted from that of each clip, shape (d,), or (n, d) for one a clip; None
                leaves the model unadapted.

        Returns:
            Shape (n, labels); columns as in `meta.labels`, each row sums to 1.

        Raises:
            ParameterError: if a shape does not fit.
            BundleError: ``failed``, if the graph cannot process it or gives what are no probabilities;
                ``cannot_adapt``, if it takes no reference.
        """
        return self._run(values, reference, [PROBABILITIES])[0]

    def run_and_embed(self, values: npt.ArrayLike, reference: npt.ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Compute probabilities and embeddings in one go.

        Args:
            values, reference: as for `run`.

        Returns:
            Probabilities as `run` gives them, and embeddings of shape (n, d), each relative to the mean of the
            training data whatever the reference.

        Raises:
            ParameterError, BundleError: as `run`.
        """
        self.require_adaptable()
        probabilities, embeddings = self._run(values, reference, [PROBABILITIES, EMBEDDING])
        return probabilities, embeddings

    def embed(self, values: npt.ArrayLike) -> Floats:
        """Compute embeddings, shape (n, d), as `run_and_embed` does."""
        return self.run_and_embed(values)[1]

    @property
    def can_adapt(self) -> bool:
        """Does the graph give embeddings, and take a reference to subtract from them?"""
        return self.embedding_size is not None

    def require_adaptable(self) -> int:
        """Give the length of an embedding.

        Raises:
            BundleError: ``cannot_adapt``, if the graph has none.
        """
        if self.embedding_size is None:
            raise BundleError(
                f"cannot adapt: the model {self.identity} takes no reference",
                code="cannot_adapt",
                path=self.path,
                remedy="Use a speechnet bundle that this version of emovox exported, or predict without adaptation.",
            )
        return self.embedding_size

    def _run(self, values: npt.ArrayLike, reference: npt.ArrayLike | None, wanted: Sequence[str]) -> list[Floats]:
        array = np.ascontiguousarray(values, dtype=np.float32)
        size = CLASSIC_INPUT_SIZE if self.meta.input == "classic" else None
        if array.ndim != 2 or (size is not None and array.shape[1] != size):
            raise ParameterError(f"the model takes arrays of shape (n, {size or 'samples'}), got {array.shape}")
        feeds = {INPUT_NAMES[self.meta.input]: array}
        if reference is not None or self.can_adapt:
            feeds[REFERENCE] = self._reference_rows(reference, len(array))
        widths = {PROBABILITIES: len(self.meta.labels), EMBEDDING: self.embedding_size or 0}
        if not len(array):
            return [np.empty((0, widths[name]), np.float32) for name in wanted]
        try:
            found = self._session.run(list(wanted), feeds)
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise BundleError(f"cannot process this input ({_brief(error)})", code="failed", path=self.path) from error
        outputs = [cast(Floats, np.asarray(output, dtype=np.float32)) for output in found]
        for name, output in zip(wanted, outputs, strict=True):
            sound = _are_distributions(output) if name == PROBABILITIES else bool(np.isfinite(output).all())
            if output.shape != (len(array), widths[name]) or not sound:
                what = "no probabilities of labels" if name == PROBABILITIES else "no embeddings"
                message = f"gave what are {what} (shape {output.shape}, wanted {(len(array), widths[name])})"
                raise BundleError(message, code="failed", path=self.path)
        return outputs

    def _reference_rows(self, reference: npt.ArrayLike | None, clips: int) -> Floats:
        size = self.require_adaptable()
        if reference is None:
            return np.zeros((1, size), np.float32)
        rows = np.atleast_2d(np.asarray(reference, dtype=np.float32))
        if rows.shape not in ((1, size), (clips, size)) or not np.isfinite(rows).all():
            raise ParameterError(
                f"a reference has {size} finite values (or one row of them for each of {clips} clips), "
                f"got the shape {rows.shape}"
            )
        return np.ascontiguousarray(rows)

    def _check_graph(self) -> int | None:
        """Check inputs and outputs; give the length of an embedding, None if the graph cannot adapt."""
        # A reference may have a default value in the graph, so that other programs need not know of it.
        optional = {item.name: item for item in self._session.get_overridable_initializers() if item.name == REFERENCE}
        inputs = {item.name: item for item in self._session.get_inputs()} | optional
        outputs = {item.name: item for item in self._session.get_outputs()}
        given, wanted = inputs.get(INPUT_NAMES[self.meta.input]), outputs.get(PROBABILITIES)
        width = CLASSIC_INPUT_SIZE if self.meta.input == "classic" else None
        adaptable = self.meta.input == "waveform"
        size = _embedding_size(inputs.get(REFERENCE), outputs.get(EMBEDDING)) if adaptable else None
        expected = 1 if size is None else 2
        fits = len(inputs) == expected and _fits(given, width) and _fits(wanted, len(self.meta.labels))
        fits = fits and (size is not None or self.meta.neutral is None)
        if not fits:
            raise BundleError(
                f"does not fit its description: input {list(inputs)}, output {list(outputs)} for "
                f"{self.meta.input} and {len(self.meta.labels)} labels",
                code="corrupt",
                path=self.path,
                remedy="Export it again.",
            )
        return size


def read_metadata(source: str | os.PathLike[str] | None = None) -> BundleMetadata:
    """Read a bundle's description without starting its model.

    Raises:
        BundleError: as `Bundle.load`.
    """
    path = resolve(source)
    return _described(open_envelope(_read(path), path=str(path)), str(path))


def resolve(source: str | os.PathLike[str] | None) -> Path:
    """Find a bundle's file from a path, the name of one that comes with emovox, or None for the default one.

    Raises:
        BundleError: ``not_found``.
    """
    if source is None:
        source = DEFAULT_BUNDLE
    path = Path(source)
    named = packaged_bundles()
    packaged = named.get(source) if isinstance(source, str) else None
    if path.exists() and (packaged is None or not path.is_dir()):  # a folder of that name is meant by nobody
        return path
    if packaged is not None:
        return packaged
    names = f", or one of: {', '.join(named)}" if named else ""
    raise BundleError(
        "no such bundle file and no bundle of that name",
        code="not_found",
        path=str(source),
        remedy=f"Give a .onnx file that `emovox train` wrote{names}.",
    )


def _packaged(name: str) -> Path:
    return Path(__file__).parents[1] / "data" / f"{name}.onnx"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = "is a folder, not a bundle" if path.is_dir() else f"cannot be read ({error.strerror or error})"
        raise BundleError(message, code="not_found", path=str(path), remedy="Give a .onnx file.") from error


def _described(envelope: Envelope, path: str | None) -> BundleMetadata:
    try:
        return BundleMetadata.from_json(envelope.description)
    except BundleError as error:
        raise BundleError(error.message, code=error.code, path=path, remedy="Export it again.") from error


def _session(data: bytes, path: str | None, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an exception
    options.enable_mem_pattern = False  # it keeps a plan for every clip length ever seen
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise BundleError(
            f"cannot be loaded by onnxruntime {onnxruntime.__version__} ({_brief(error)})",
            code="corrupt",
            path=path,
            remedy="Update onnxruntime, or export the bundle again.",
        ) from error


def available_threads() -> int:
    """Count the processors that this process may use, at most 4."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, available)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _fits(item: Any, width: int | None) -> bool:
    """Is it a float matrix whose second axis is, or may be, `width`?"""
    if item is None or item.type != "tensor(float)" or len(item.shape) != 2:
        return False
    return width is None or not isinstance(item.shape[1], int) or item.shape[1] == width


def _embedding_size(reference: Any, embedding: Any) -> int | None:
    """Width of both, which at least one of them must name; None if they do not fit each other."""
    if not (_fits(reference, None) and _fits(embedding, None)):
        return None
    widths = {item.shape[1] for item in (reference, embedding) if isinstance(item.shape[1], int)}
    return widths.pop() if len(widths) == 1 else None


def _are_distributions(probabilities: Floats) -> bool:
    return bool((probabilities >= -1e-6).all() and (np.abs(probabilities.sum(axis=1) - 1) < 1e-3).all())
