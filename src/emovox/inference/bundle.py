"""One file that holds a model and everything needed to use it; loaded with onnxruntime alone."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from emovox.errors import BundleError, ParameterError
from emovox.inference.container import FORMAT_VERSION, open_envelope

DEFAULT_BUNDLE = "emovox-base"
CLASSIC_INPUT_SIZE = 180
"""Length of the vector that models with input ``classic`` take."""

INPUT_NAMES: Mapping[str, str] = {"classic": "features", "waveform": "waveform"}
"""Name of the graph's input, by what the model takes."""

Floats: TypeAlias = npt.NDArray[np.float32]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class BundleMetadata:
    """What a bundle says about its model.

    Attributes:
        name, version: of the model, such as ``emovox-base`` and ``1.0``.
        labels: emotions in the order of the probability columns; two or more, all different.
        input: ``waveform`` (mono samples) or ``classic`` (the vector of `emovox.features.classic`).
        sample_rate: rate in Hz that the input is brought to; None leaves each recording at its own.
        feature_version: version of the feature set that the model was trained on; None for waveforms.
        max_seconds: longest clip in one call; longer ones are cut. None where the model sets no limit.
        training: what it was trained on, such as ``{"corpora": [{"name", "clips", "speakers", "licence"}]}``.
        licence: of the model. permits: what that allows, in plain words.
        scores: measured figures, each with its corpus, protocol and number of speakers.
        temperature: calibration that the probabilities already contain (1 if none).
        created: ISO 8601, UTC.
        card: the model card, Markdown.
    """

    name: str
    labels: tuple[str, ...]
    input: Literal["waveform", "classic"]
    version: str = "1"
    sample_rate: int | None = None
    feature_version: str | None = None
    max_seconds: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    permits: str = ""
    scores: Sequence[Mapping[str, Any]] = ()
    temperature: float = 1.0
    created: str = field(default_factory=_now)
    card: str = ""

    def __post_init__(self) -> None:
        faults = [message for message, wrong in self._faults() if wrong]
        if faults:
            raise ParameterError(f"a bundle cannot be described so: {'; '.join(faults)}")

    def _faults(self) -> list[tuple[str, bool]]:
        rate, longest = self.sample_rate, self.max_seconds
        texts = (self.name, self.version, self.licence, self.permits, self.created, self.card)
        return [
            ("name must not be empty", not self.name),
            ("name, version, licence, permits, created and card are texts", not all(isinstance(t, str) for t in texts)),
            ("labels must be two or more different texts", not _are_labels(self.labels)),
            (f"input must be one of {', '.join(INPUT_NAMES)}", self.input not in INPUT_NAMES),
            ("sample_rate must be a positive whole number or null", not (rate is None or _is_positive(rate, int))),
            ("a waveform model needs a sample_rate", self.input == "waveform" and rate is None),
            ("max_seconds must be positive or null", not (longest is None or _is_positive(longest, int, float))),
            ("temperature must be positive", not _is_positive(self.temperature, int, float)),
            ("training must be an object", not isinstance(self.training, Mapping)),
            ("scores must be a list of objects", not all(isinstance(score, Mapping) for score in self.scores)),
        ]

    def to_json(self) -> str:
        """Write it as one JSON object with a fixed order of keys."""
        document = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> BundleMetadata:
        """Read what `to_json` wrote; keys that this version does not know are passed over.

        Raises:
            BundleError: ``corrupt``, if it is not such an object.
        """
        try:
            document = json.loads(text)
            known = {item.name for item in dataclasses.fields(cls)}
            values = {key: value for key, value in document.items() if key in known}
            values["labels"] = tuple(values["labels"])
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ParameterError) as error:
            raise BundleError(f"has a description that cannot be used ({error})", code="corrupt") from error

    def summary(self) -> dict[str, Any]:
        """What programs want to know of the model that gave a result, ready for JSON."""
        keys = ("name", "version", "labels", "input", "sample_rate", "licence", "permits", "created")
        return {key: list(value) if key == "labels" else value for key in keys for value in (getattr(self, key),)}


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
        path: as given.
        size: of the file, in bytes.
    """

    meta: BundleMetadata

    def __init__(self, data: bytes, *, path: str | None = None, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ParameterError(f"threads must be at least 1, got {threads}")
        self.path = path
        self.size = len(data)
        self.meta = _described(data, path)
        self._session = _session(data, path, threads or available_threads())
        self._check_graph()

    @classmethod
    def load(cls, source: str | os.PathLike[str] | None = None, *, threads: int | None = None) -> Bundle:
        """Load a bundle from a file, or by the name of one that comes with emovox (None: the default one).

        Raises:
            BundleError: as the constructor; ``not_found`` if there is no such file and no such name.
        """
        path = resolve(source)
        return cls(_read(path), path=str(path), threads=threads)

    def run(self, values: npt.ArrayLike) -> Floats:
        """Compute probabilities.

        Args:
            values: float32; (n, 180) feature vectors for input ``classic``, (n, samples) equally long clips at
                `meta.sample_rate` for input ``waveform``.

        Returns:
            Shape (n, labels); columns as in `meta.labels`, each row sums to 1.

        Raises:
            ParameterError: if the shape does not fit.
            BundleError: ``failed``, if the graph cannot process it or gives what are no probabilities.
        """
        array = np.ascontiguousarray(values, dtype=np.float32)
        size = CLASSIC_INPUT_SIZE if self.meta.input == "classic" else None
        if array.ndim != 2 or (size is not None and array.shape[1] != size):
            raise ParameterError(f"the model takes arrays of shape (n, {size or 'samples'}), got {array.shape}")
        if not len(array):
            return np.empty((0, len(self.meta.labels)), np.float32)
        try:
            (output,) = self._session.run(["probabilities"], {INPUT_NAMES[self.meta.input]: array})
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise BundleError(f"cannot process this input ({_brief(error)})", code="failed", path=self.path) from error
        probabilities = cast(Floats, np.asarray(output, dtype=np.float32))
        if probabilities.shape != (len(array), len(self.meta.labels)) or not _are_distributions(probabilities):
            raise BundleError(
                f"gave what are no probabilities of {len(self.meta.labels)} labels (shape {probabilities.shape})",
                code="failed",
                path=self.path,
            )
        return probabilities

    def _check_graph(self) -> None:
        inputs = {item.name: item for item in self._session.get_inputs()}
        outputs = {item.name: item for item in self._session.get_outputs()}
        given, wanted = inputs.get(INPUT_NAMES[self.meta.input]), outputs.get("probabilities")
        width = CLASSIC_INPUT_SIZE if self.meta.input == "classic" else None
        fits = len(inputs) == 1 and _fits(given, width) and _fits(wanted, len(self.meta.labels))
        if not fits:
            raise BundleError(
                f"does not fit its description: input {list(inputs)}, output {list(outputs)} for "
                f"{self.meta.input} and {len(self.meta.labels)} labels",
                code="corrupt",
                path=self.path,
                remedy="Export it again.",
            )


def read_metadata(source: str | os.PathLike[str] | None = None) -> BundleMetadata:
    """Read a bundle's description without starting its model.

    Raises:
        BundleError: as `Bundle.load`.
    """
    path = resolve(source)
    return _described(_read(path), str(path))


def resolve(source: str | os.PathLike[str] | None) -> Path:
    """Find a bundle's file from a path, a name, or None for the default one.

    Raises:
        BundleError: ``not_found``.
    """
    if source is None:
        source = DEFAULT_BUNDLE
    path = Path(source)
    if path.exists():
        return path
    named = packaged_bundles()
    if isinstance(source, str) and source in named:
        return named[source]
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


def _described(data: bytes, path: str | None) -> BundleMetadata:
    envelope = open_envelope(data, path=path)
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


def _are_labels(labels: object) -> bool:
    if not isinstance(labels, tuple) or not all(isinstance(label, str) and label for label in labels):
        return False
    return len(labels) >= 2 and len(set(labels)) == len(labels)


def _is_positive(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 < cast(float, value) < float("inf")


def _are_distributions(probabilities: Floats) -> bool:
    return bool((probabilities >= -1e-6).all() and (np.abs(probabilities.sum(axis=1) - 1) < 1e-3).all())
