"""Where this differs from the reference study: its known faults, and what could not be the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from emovox.studies.reading import StudyResults
from emovox.studies.report.choosing import planned
from emovox.studies.report.elements import Section, Table
from emovox.studies.report.settings import STUDY_EPOCHS, has_fewer_epochs, most_epochs
from emovox.studies.report.words import listed

_REFERENCE_CLIPS = 55_611
_LOSSY = {"opus", "ogg", "mp3", "m4a", "aac", "webm", "wma"}

_FIXED = (
    (
        "Speakers",
        "One random split; the speakers who are tested were heard in training.",
        "The random split is repeated and always labelled as speaker-dependent; beside it stand the same models on "
        "speakers and corpora that they never heard.",
    ),
    (
        "Early stopping and choice",
        "On the test part.",
        "On a fifth of the training rows that nobody is fitted on; where the protocol separates speakers these are "
        "speakers of their own. No test clip is seen by scaling, early stopping or calibration.",
    ),
    (
        "Stereo files",
        "Passed to the feature extraction as (samples, 2), so as thousands of channels of two samples.",
        "Mixed to mono when they are read.",
    ),
    (
        "Scaling",
        "Features are not scaled.",
        "The study's models see them as they are, as in the study; scaled ones stand among the baselines.",
    ),
    (
        "Head of the networks",
        "8 units for 7 classes.",
        "7 units. Parameter counts are given for 8 units, too, to be held against the published ones.",
    ),
    (
        "1 %, 10 %, 100 %",
        "The test bars come from models that were refitted at 99 % only.",
        "Every model is fitted anew at each size, on a sample with the same share of every emotion.",
    ),
    (
        "Probabilities of SVC",
        "None are published.",
        "Made by voting, see the section on calibration; they do not change what is predicted.",
    ),
    (
        "Times",
        "Seconds on its own machine.",
        "Processor seconds of one core, on fewer clips: comparable in order of magnitude only.",
    ),
    (
        "Software of the networks",
        "Keras.",
        "PyTorch, with Keras' layers, initial weights and defaults of optimisers.",
    ),
)


def section(study: StudyResults) -> Section:
    """List the differences: data first, then what was corrected, then what was shortened."""
    rows = [*_data(study), *_FIXED, *_epochs(study)]
    return Section(
        title="Where this differs from the study",
        finding="The published figures are context, not a target: the data are others, and the study's faults are "
        "not repeated.",
        content=[
            Table(
                title="Differences, one by one",
                columns=["", "in the study", "here"],
                rows=[list(row) for row in rows],
            )
        ],
    )


def _data(study: StudyResults) -> list[tuple[str, str, str]]:
    about = study.about
    corpora = listed([f"{one['name']} ({one['clips']:,})" for one in about["corpora"]])
    absent = [name.upper() for name in about["absent"]]
    gone = (
        f" {listed(absent)} {'is' if len(absent) == 1 else 'are'} absent: no recording was at hand." if absent else ""
    )
    suffixes = Counter(Path(path).suffix.lower().lstrip(".") or "no ending" for path in study.table["path"])
    formats = listed([f"{name} ({count:,})" for name, count in suffixes.most_common()])
    lossy = (
        " Lossy coding: not what the corpora publish, so features differ from theirs." if _LOSSY & set(suffixes) else ""
    )
    return [
        (
            "Clips",
            f"{_REFERENCE_CLIPS:,} of ESD (35,000), RAVDESS speech and song, TESS (twice), EmoDB and a folder CUSTOM.",
            f"{about['clips']:,} clips of {about['speakers']} speakers: {corpora}.{gone}",
        ),
        (
            "Copies",
            "Identical recordings under two names stand on both sides of the split (TESS is in it twice).",
            "Not looked for yet."
            if study.copies is None
            else "The sound of all clips was compared; the leak table says how many copies stand on both sides.",
        ),
        ("Files", "At each corpus' own sample rate.", f"As they were at hand: {formats}.{lossy}"),
    ]


def _epochs(study: StudyResults) -> list[tuple[str, str, str]]:
    """Say where networks are given fewer epochs than the study's."""
    fewer: dict[int, dict[str, list[str]]] = {}
    for result in planned(study, *{plan.part.kind for plan in study.plans}):
        if has_fewer_epochs(result):
            of_count = fewer.setdefault(most_epochs(result), {})
            protocols = of_count.setdefault(str(result.choice["name"]), [])
            protocols += [] if result.protocol["key"] in protocols else [str(result.protocol["key"])]
    if not fewer:
        return []
    texts = []
    for count, protocols_of in sorted(fewer.items()):
        alike: dict[str, list[str]] = {}
        for name, protocols in protocols_of.items():
            alike.setdefault(listed(protocols), []).append(name)
        told = "; ".join(f"{listed(names)} under {protocols}" for protocols, names in alike.items())
        texts.append(f"At most {count}: {told}.")
    return [("Epochs", f"{STUDY_EPOCHS} everywhere.", f"{' '.join(texts)} Everywhere else {STUDY_EPOCHS}.")]
