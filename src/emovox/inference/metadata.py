"""What a bundle says about its model."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast

from emovox.errors import BundleError, ParameterError
from emovox.inference.container import FORMAT_VERSION

CLASSIC_INPUT_SIZE = 180
"""Length of the vector that models with input ``classic`` take."""

INPUT_NAMES: Mapping[str, str] = {"classic": "features", "waveform": "waveform"}
"""Name of the graph's input, by what the model takes."""


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
        neutral: probabilities of an embedding that is the default reference, softmax(b), one a label; None where a
            model cannot adapt, or has logits that are not linear in the embedding.
        spread: variance of a voice's log ratios, which tells what few clips are worth (`emovox.inference.log_ratios`);
            None where it is not known.
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
    neutral: tuple[float, ...] | None = None
    spread: float | None = None
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
            ("neutral must hold a probability a label, 1 in all, or be null", not self._has_neutral_or_none()),
            ("spread must be positive or null", not (self.spread is None or _is_positive(self.spread, int, float))),
            ("training must be an object", not isinstance(self.training, Mapping)),
            ("scores must be a list of objects", not all(isinstance(score, Mapping) for score in self.scores)),
        ]

    def _has_neutral_or_none(self) -> bool:
        values = self.neutral
        if values is None:
            return True
        fits = isinstance(values, tuple) and _are_labels(self.labels) and len(values) == len(self.labels)
        fits = fits and self.input == "waveform"
        return fits and all(_is_positive(value, int, float) for value in values) and abs(sum(values) - 1) < 1e-3

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
            if values.get("neutral") is not None:
                values["neutral"] = tuple(values["neutral"])
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ParameterError) as error:
            raise BundleError(f"has a description that cannot be used ({error})", code="corrupt") from error

    def summary(self) -> dict[str, Any]:
        """What programs want to know of the model that gave a result, ready for JSON."""
        keys = ("name", "version", "labels", "input", "sample_rate", "licence", "permits", "created")
        return {key: list(value) if key == "labels" else value for key in keys for value in (getattr(self, key),)}


@dataclass(frozen=True)
class Identity:
    """Which bundle it is: name and version for people, the checksum in its file (hexadecimal) for certainty."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def _are_labels(labels: object) -> bool:
    if not isinstance(labels, tuple) or not all(isinstance(label, str) and label for label in labels):
        return False
    return len(labels) >= 2 and len(set(labels)) == len(labels)


def _is_positive(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 < cast(float, value) <= sys.float_info.max
