"""What a study consists of, read from TOML and checked before anything is computed.

Example:
    A study of two models::

        title = "Trees and neighbours"
        corpora = ["emodb", "ravdess"]

        [parts.classical]
        title = "Classical models"

        [[parts.classical.blocks]]
        models = ["random-forest", "k-neighbors"]
        protocols = ["random-25", "speaker-5", "corpus"]
        sizes = [0.1, 1.0]
"""

from __future__ import annotations

import itertools
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from emovox.emotions import parse_label_set
from emovox.errors import EmovoxError, ParameterError
from emovox.evaluation.choices import ModelChoice
from emovox.evaluation.conditions import CONDITIONS
from emovox.evaluation.protocols import (
    STUDY_SEED,
    EvaluationProtocol,
    FileFolds,
    LeaveOneCorpusOut,
    LeaveOneSpeakerOut,
    RandomSplit,
    SpeakerFolds,
)
from emovox.evaluation.within import Within
from emovox.models.catalog import find

Share = Annotated[float, Field(gt=0, le=1)]
Value = str | int | float | bool
Kind = Literal[
    "classical", "networks", "optimizers", "validation", "corpora", "baselines", "calibration", "robustness", "loso"
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Block(_Strict):
    """Models under protocols: every combination of what is listed is a row of the study.

    Attributes:
        models: names of the catalogue.
        protocols: ``random-25`` (per cent tested), ``speaker-5`` (folds), ``loso``, ``corpus``, ``ravdess-6``.
        within: corpora in each of which the protocols are carried out, instead of all together; ``each`` for all.
        features: feature sets that the models see; none for each model's own input.
        sizes: shares of the training rows.
        parameters: of all models.
        grid: parameters of which every combination is evaluated.
        held_out: put a fifth of the training rows aside, see `ModelChoice`.
        training_scores: measure on the training rows, too.
        conditions: names of `emovox.evaluation.conditions.CONDITIONS`, or ``all``.
    """

    models: Annotated[list[str], Field(min_length=1)]
    protocols: Annotated[list[str], Field(min_length=1)]
    within: list[str] = []
    features: list[str] = []
    sizes: Annotated[list[Share], Field(min_length=1)] = [1.0]
    parameters: dict[str, Value] = {}
    grid: dict[str, Annotated[list[Value], Field(min_length=1)]] = {}
    held_out: bool = False
    training_scores: bool = False
    conditions: list[str] = []

    @pydantic.field_validator("models")
    @classmethod
    def _known_models(cls, names: list[str]) -> list[str]:
        for name in names:
            _check(find, name)
        return names

    @pydantic.field_validator("protocols")
    @classmethod
    def _known_protocols(cls, names: list[str]) -> list[str]:
        for name in names:
            _check(parse_protocol, name)
        return names

    @pydantic.field_validator("conditions")
    @classmethod
    def _known_conditions(cls, names: list[str]) -> list[str]:
        names = list(CONDITIONS) if names == ["all"] else names
        unknown = [name for name in names if name not in CONDITIONS]
        if unknown:
            raise ValueError(f"there is no condition {unknown[0]!r}; there are: {', '.join(CONDITIONS)}")
        return names

    def choices(self) -> list[ModelChoice]:
        """Spell out every model with every combination of parameters, features and sizes."""
        combinations = [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]
        return [
            ModelChoice(model, {**self.parameters, **chosen}, features, size, self.held_out)
            for model in self.models
            for features in self.features or [""]
            for chosen in combinations
            for size in self.sizes
        ]

    def evaluated(self, corpora: list[str]) -> list[EvaluationProtocol]:
        """Give the protocols, for a table with these corpora; those within an absent corpus are left out."""
        protocols = [parse_protocol(name) for name in self.protocols]
        if not self.within:
            return protocols
        wanted = corpora if self.within == ["each"] else [name for name in self.within if name in corpora]
        return [Within(protocol, corpus) for corpus in wanted for protocol in protocols]


class Part(_Strict):
    """A part of a study, which can be run by itself; `kind` says how the report shows it."""

    title: str
    kind: Kind
    text: str = ""
    blocks: Annotated[list[Block], Field(min_length=1)]


class StudyConfig(_Strict):
    """A whole study.

    Attributes:
        title: of the report.
        corpora: that the study wants; those that are not at hand are named in the report.
        labels: a label set, or emotions with commas between.
        seeds: each gives divisions and models of its own.
        results: folder of the results, relative to the file of the study.
        remarks: what a reader of the report must know and no data tells, such as how the recordings were encoded.
        parts: by name.
    """

    title: str
    corpora: Annotated[list[str], Field(min_length=1)]
    labels: str = "seven"
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [STUDY_SEED]
    results: str = "results"
    remarks: list[str] = []
    parts: Annotated[dict[str, Part], Field(min_length=1)]

    @property
    def emotions(self) -> tuple[str, ...]:
        """The labels, in the order of the probabilities."""
        return tuple(parse_label_set(self.labels))

    def only(self, names: Sequence[str]) -> StudyConfig:
        """Keep some parts.

        Raises:
            ParameterError: if there is no part of a name.
        """
        for name in names:
            if name not in self.parts:
                raise ParameterError(f"the study has no part {name!r}", remedy=f"It has: {', '.join(self.parts)}.")
        return self.model_copy(update={"parts": {name: self.parts[name] for name in names}}) if names else self


def read_config(path: str | os.PathLike[str]) -> StudyConfig:
    """Read a study's file.

    Raises:
        ParameterError: if it cannot be read, or something in it makes no sense; the message says where.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"cannot be read ({error.strerror})", path=path) from error
    except ValueError as error:
        raise ParameterError(f"cannot be read as a study ({error})", path=path) from error
    try:
        return StudyConfig.model_validate(document)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ParameterError(f"{place}: {first['msg']}", path=path) from error


def _check(look_up: Callable[[str], object], name: str) -> None:
    """Look a name up, and tell of a wrong one in the way in which pydantic names the place."""
    try:
        look_up(name)
    except EmovoxError as error:
        raise ValueError(str(error)) from error


_PROTOCOL = re.compile(r"(random|speaker)-(\d+)")


def parse_protocol(name: str) -> EvaluationProtocol:
    """Read a protocol's key.

    Raises:
        ParameterError: if there is no such protocol.

    Example:
        >>> parse_protocol("random-20").sentence
        '80/20 split by chance, speakers on both sides (speaker-dependent)'
    """
    match = _PROTOCOL.fullmatch(name)
    if match and match[1] == "random":
        return RandomSplit(test_size=int(match[2]) / 100)
    if match:
        return SpeakerFolds(n_splits=int(match[2]), unknown_speakers="aside")
    others: dict[str, EvaluationProtocol] = {
        "loso": LeaveOneSpeakerOut(unknown_speakers="aside"),
        "corpus": LeaveOneCorpusOut(),
    }
    if name == "ravdess-6":
        return FileFolds(name)
    if name in others:
        return others[name]
    raise ParameterError(
        f"there is no protocol {name!r}", remedy="Use random-25, speaker-5, loso, corpus or ravdess-6."
    )
