"""The catalogue: every model by name, as data, and the one way to create one.

Importing this file imports neither scikit-learn nor torch; `create` imports what its model needs.

Example:
    >>> from emovox.models.catalog import CATALOG, create
    >>> CATALOG["svc-scaled"].summary
    'support vector machine, features standardised'
    >>> create("random-forest", seed=7)
    RandomForestClassifier(random_state=7)
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from emovox.errors import MissingExtraError, ModelError, ParameterError
from emovox.models.architectures import ARCHITECTURES, PUBLISHED_CLASSES
from emovox.models.classical import BASELINES, CLASSICAL, MODEL_STEP, SCALED_SUFFIX

Family = Literal["classical", "network", "speechnet"]
Input = Literal["classic", "waveform"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One entry of the catalogue.

    Attributes:
        name: what users write.
        family: ``classical`` (scikit-learn), ``network`` (the study's networks), or ``speechnet`` (ours).
        input: what `fit` takes as X: ``classic`` for the 180 features, shape (n, 180), or ``waveform`` for a sequence
            of mono waveforms at 16 kHz. What takes features also takes those of other sets, shape (n, size).
        summary: one line for people.
        extra: the extra of this package that brings what the model needs.
        factory: import path, ``module:callable``, of what creates it.
        arguments: fixed arguments of the factory.
        reference: the reference study's published figures; empty for models that it does not have.
    """

    name: str
    family: Family
    input: Input
    summary: str
    extra: Literal["train", "deep"]
    factory: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)

    def create(self, *, seed: int | None = None, **parameters: object) -> Any:
        """Create the model, unfitted.

        Args:
            seed: for all of its randomness; models without any ignore it.
            parameters: of the model's own class, over the catalogue's values; see its `get_params`.

        Returns:
            A scikit-learn classifier.

        Raises:
            MissingExtraError: if the packages that it needs are not installed.
            ParameterError: if the model has no such parameter.
        """
        module, _, name = self.factory.partition(":")
        try:
            model = getattr(importlib.import_module(module), name)(**{**self.arguments, **parameters})
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("emovox"):
                raise
            raise MissingExtraError.for_extra(self.extra, f"the model {self.name!r}") from error
        except TypeError as error:
            raise ParameterError(f"the model {self.name!r}: {error}") from error
        known = model.get_params()
        seeds = {key: seed for key in ("random_state", f"{MODEL_STEP}__random_state") if key in known}
        if seed is not None and seeds:
            model.set_params(**seeds)
        return model

    def parameters(self, *, classes: int = 7) -> int | None:
        """Count the trainable parameters with a head of `classes` units; None where no table of layers says so."""
        return ARCHITECTURES[self.name].parameters(classes=classes) if self.name in ARCHITECTURES else None

    def published_parameters(self) -> int | None:
        """Give the parameter count that the reference study published, with its 8-unit head."""
        published = self.reference.get("parameters")
        return None if published is None else int(published)

    def as_dict(self) -> dict[str, object]:
        """Give the entry as plain data, for JSON.

        `parameters` counts with a head for seven emotions, `parameters_with_8_units` with the study's head, to be
        held against `reference_parameters`.
        """
        return {
            "name": self.name,
            "family": self.family,
            "input": self.input,
            "extra": self.extra,
            "summary": self.summary,
            "parameters": self.parameters(),
            "parameters_with_8_units": self.parameters(classes=PUBLISHED_CLASSES),
            "reference_parameters": self.published_parameters(),
            "reference": dict(self.reference),
        }


def _classical_specs() -> list[ModelSpec]:
    scaled = [replace(model, name=model.name + SCALED_SUFFIX, scaled=True, reference={}) for model in CLASSICAL]
    groups = (
        (CLASSICAL, "as in the study"),
        (scaled, "features standardised"),
        (BASELINES, "a practitioner's baseline"),
    )
    return [
        ModelSpec(
            name=model.name,
            family="classical",
            input="classic",
            summary=f"{model.title}, {remark}",
            extra="train",
            factory="emovox.models.classical:build",
            arguments={"estimator": model.estimator, "scaled": model.scaled, **model.parameters},
            reference=model.reference,
        )
        for models, remark in groups
        for model in models
    ]


def _network_specs() -> list[ModelSpec]:
    return [
        ModelSpec(
            name=architecture.name,
            family="network",
            input="classic",
            summary=architecture.summary(),
            extra="deep",
            factory="emovox.models.neural:NetworkClassifier",
            arguments={"network": architecture.name},
            reference=architecture.reference,
        )
        for architecture in ARCHITECTURES.values()
    ]


_SPEECHNETS = tuple(
    ModelSpec(name=name, family="speechnet", input="waveform", summary=summary, extra="deep", factory=factory)
    for name, summary, factory in (
        (
            "speechnet",
            "spectrogram network on the waveform, the model behind `emovox predict`",
            "emovox.models.speechnet:SpeechNet",
        ),
        (
            "speechnet-small",
            "a seventh of its size and nearly four times as fast, with the beginning of its trunk",
            "emovox.models.speechnet_small:SmallSpeechNet",
        ),
    )
)

CATALOG: Mapping[str, ModelSpec] = {spec.name: spec for spec in (*_classical_specs(), *_network_specs(), *_SPEECHNETS)}
"""Every model by name: classical, classical with scaling, baselines, networks, speechnet and its small sibling."""


def find(name: str) -> ModelSpec:
    """Look a model up by name.

    Raises:
        ModelError: if the catalogue has no such name; the message proposes similar ones.

    Example:
        >>> find("cnn-1").parameters(classes=8)
        105352
        >>> find("cnn1")
        Traceback (most recent call last):
        emovox.errors.ModelError: there is no model 'cnn1'. Did you mean cnn-1, cnn-4 or cnn-3? ...
    """
    if name in CATALOG:
        return CATALOG[name]
    similar = difflib.get_close_matches(name.lower(), CATALOG, n=3)
    hint = f"Did you mean {' or '.join(', '.join(similar).rsplit(', ', 1))}? " if similar else ""
    raise ModelError(
        f"there is no model {name!r}",
        code="unknown_model",
        remedy=f"{hint}`emovox models list` shows all of them.",
    )


def create(name: str, *, seed: int | None = None, **parameters: object) -> Any:
    """Create a model of the catalogue by name, unfitted; see `ModelSpec.create`.

    Raises:
        ModelError: if the catalogue has no such name.
        MissingExtraError: if the packages that it needs are not installed.
        ParameterError: if the model has no such parameter.

    Example:
        >>> create("k-neighbors-scaled", n_neighbors=3).get_params()["model__n_neighbors"]
        3
    """
    return find(name).create(seed=seed, **parameters)
