"""What figures refer to, in words: protocols, data, epochs, leaks, guessing, and notes that many tables share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from emovox.evaluation.metrics import MINIMUM_SPEAKERS, Scores
from emovox.models.catalog import find
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.words import listed, opening

if TYPE_CHECKING:
    import pandas as pd

PROTOCOLS: Mapping[str, str] = {
    "random": "random split",
    "speaker": "unseen speakers",
    "corpus": "unseen corpora",
}
"""The protocols that stand beside each other throughout the report, by name, and what they are called there.

Their order is that of the page's series colours.
"""

_OTHER_PROTOCOLS: Mapping[str, str] = {"loso": "one speaker out", "within": "within a corpus"}

INTERVAL_NOTE = (
    "UAR: unweighted average recall. In brackets: 95 % interval by bootstrap over speakers; over clips, and so too "
    "narrow, where marked c (fewer than ten speakers)."
)
DIFFERENT_DATA = (
    "Published: the reference study's figure on its own 55,611 clips, of which identical copies and the same speakers "
    "stand on both sides of the split. Our data are others, so it is context and not a target."
)
ONLY_WHOLE_NOTE = "The picture shows models of which every fold is finished."

STRONG_NOTE = "In bold: the highest UAR"
"""To be followed by where."""

OWN_NOTE = (
    "speechnet's recipe (blocks, units, pooling, shrinkage, augmentation, temperature) was found by trying settings on "
    "EmoDB, RAVDESS and TESS: on these its figures are figures of development, which flatter it. Its encoder "
    "(Whisper's) was pretrained on recordings of which no list is published, so unseen means here: not heard when "
    "emotions were learned."
)
"""Belongs wherever speechnet is put beside models that were not tuned on these corpora."""

STUDY_EPOCHS = 100
"""Epochs of a network whose parameters do not say how many: the study's."""


def setting_paragraphs(results: Iterable[Result]) -> list[str]:
    """Say for a section's text what its figures refer to: what all protocols share comes once, then how each divides.

    Returns:
        A paragraph for each set of corpora, clips, classes, speakers and seed; under it a sentence for each protocol.
    """
    told: dict[str, list[str]] = {}
    for result in results:
        protocol = result.protocol
        data, _, aside = protocol["description"].partition(f"; {protocol['name']}: {protocol['sentence']}")
        heading = {**PROTOCOLS, **_OTHER_PROTOCOLS}.get(protocol["name"], protocol["name"])
        text = f"{opening(heading)}: {protocol['sentence']}{aside}."
        divisions = told.setdefault(f"{data}; seed {result.seed}.", [])
        divisions += [] if text in divisions else [text]
    return [f"{data} {' '.join(divisions)}" for data, divisions in told.items()]


def setting_notes(results: Iterable[Result]) -> list[str]:
    """Say under a table what its figures refer to, all in one note for each protocol: data, division, seed and leak."""
    return list(
        dict.fromkeys(
            f"{result.protocol['description']}{_fewer_folds(result)}; seed {result.seed}."
            + (f" Leak: {result.shared}." if result.shared else "")
            for result in results
        )
    )


def leak_notes(results: Iterable[Result | None]) -> list[str]:
    """Say under a table what training and test share, where the section's text says what the figures refer to."""
    return [f"Leak: {text}." for text in dict.fromkeys(one.shared for one in results if one is not None) if text]


def most_epochs(result: Result) -> int:
    """Say how many epochs a network was allowed."""
    return int(result.choice["parameters"].get("epochs", STUDY_EPOCHS))


def has_fewer_epochs(result: Result) -> bool:
    """Whether a model is a network that was given fewer epochs than the study's."""
    return _is_network(result) and most_epochs(result) < STUDY_EPOCHS


def epoch_notes(models: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """Say which networks were given fewer epochs than the study's, and under which protocols.

    Args:
        models: by name their results by the name of the protocol.
    """
    told: dict[tuple[str, bool], list[str]] = {}
    for name, protocols in models.items():
        fewer = {protocol: most_epochs(one) for protocol, one in protocols.items() if has_fewer_epochs(one)}
        if fewer:
            counts = listed([f"{count} ({PROTOCOLS.get(protocol, protocol)})" for protocol, count in fewer.items()])
            differ = len({most_epochs(one) for one in protocols.values()}) > 1
            told.setdefault((counts, differ), []).append(name)
    return [
        f"Epochs: at most {counts} instead of the study's {STUDY_EPOCHS}, for {listed(names)}"
        + ("; part of the change from one protocol to another may be due to that." if differ else ".")
        for (counts, differ), names in told.items()
    ]


def few_speakers(table: pd.DataFrame) -> list[str]:
    """Name the corpora of some rows that have so few speakers that one of them weighs as much as many elsewhere."""
    speakers = table.groupby("corpus")["speaker"].nunique()
    few = [str(name) for name, count in speakers.items() if count < MINIMUM_SPEAKERS]
    return few if len(few) < len(speakers) else []


def weight_of(corpora: Sequence[str], table: pd.DataFrame) -> str:
    """Say how many speakers of some corpora speak which share of the rows: ``2 of 36 speakers (tess) speak 62 %``."""
    of_them = table["corpus"].isin(list(corpora))
    voices = table.loc[of_them, "speaker"].nunique()
    share = f"{100 * float(of_them.mean()):.0f} %"
    return f"{voices} of {table['speaker'].nunique()} speakers ({listed(corpora)}) speak {share} of the clips"


def chance(study: StudyResults) -> float:
    """Give the UAR of guessing, in [0, 1]: 1 / number of emotions that occur in the study."""
    return 1 / max(1, sum(1 for count in study.about["emotions"].values() if count))


def tested_classes(scores: Scores) -> int:
    """Count the emotions that some test clips have; guessing among them reaches a UAR of 1 / this."""
    return sum(1 for row in scores.report[: len(scores.labels)] if row.support)


def _fewer_folds(result: Result) -> str:
    """Say where there are fewer speakers than folds were asked for."""
    wanted = re.match(r"speaker-(\d+)", str(result.protocol["key"]))
    return f" ({result.planned} folds, for want of speakers)" if wanted and result.planned < int(wanted[1]) else ""


def _is_network(result: Result) -> bool:
    return find(result.choice["name"]).family == "network"
