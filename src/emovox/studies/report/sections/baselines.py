"""What a practitioner would try: scaled models and other feature sets, and this package's own network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, final, planned
from emovox.studies.report.elements import Section, Table
from emovox.studies.report.missing import nothing_yet, remaining
from emovox.studies.report.protocols import (
    CHANGE_NOTE,
    Column,
    Models,
    Protocols,
    by_protocol,
    change,
    figure,
    protocol_picture,
    protocol_table,
)
from emovox.studies.report.settings import INTERVAL_NOTE, OWN_NOTE, setting_paragraphs
from emovox.studies.report.words import NOTHING, accuracy_alone, duration, f1_alone, uar_text

TITLE = "Stronger baselines, and this package's own network"
FEATURES: Mapping[str, str] = {
    "classic": "the study's 180 features",
    "egemaps": "eGeMAPS (88, openSMILE)",
    "compare": "ComParE 2016 (6,373, openSMILE)",
    "waveform": "the waveform",
}
"""What models see, in words; the order of the table."""


def section(study: StudyResults) -> Section:
    """Compare feature sets and scaled models under the three protocols."""
    results = planned(study, "baselines")
    if not begun(results):
        return nothing_yet(TITLE, results)
    groups: dict[str, Models] = {}
    for features in dict.fromkeys([*FEATURES, *(str(result.choice["features"]) for result in results)]):
        some = [result for result in results if result.choice["features"] == features]
        if some:
            groups[features] = by_protocol(some, _name)
    headed = {f"On {FEATURES.get(features, features)}": models for features, models in groups.items()}
    pictures = protocol_picture(study, headed, caption="Baselines by what they see.", alternative=_finding(groups))
    return Section(
        title=TITLE,
        finding=_finding(groups),
        paragraphs=[
            *setting_paragraphs(begun(results)),
            "Not part of the reference study. Models with the ending -scaled standardise the features; mean and "
            "scale come from the training clips alone. hist-gradient-boosting is scikit-learn's, on features as they "
            "are. No setting of these models was tuned: they have one for all feature sets and protocols.",
            "speechnet is the network behind the command emovox predict: blocks of a speech recogniser's encoder that "
            f"stay as they were pretrained, and one linear layer on top. {OWN_NOTE}",
        ],
        content=[*pictures, _table(study, headed, remaining(results))],
    )


def _name(result: Result) -> str:
    """Name a model without its feature set, which stands over its group."""
    return str(result.choice["name"]) if not result.choice["parameters"] else result.title


def _finding(groups: Mapping[str, Models]) -> str:
    found = {
        (features, name): scores
        for features, models in groups.items()
        for name, protocols in models.items()
        if (scores := final(protocols.get("speaker")))
    }
    if not found:
        return "No baseline is finished on unseen speakers yet."
    vectors = {key: scores for key, scores in found.items() if key[0] != "waveform"}
    texts: list[str] = []
    for some, what in ((found, "Best on unseen speakers"), (vectors, "best on feature vectors")):
        if some:
            best = max(some, key=lambda key: some[key].uar)
            text = f"{what}: {best[1]} on {FEATURES.get(best[0], best[0])}, UAR {uar_text(some[best])} %"
            texts += [] if texts and texts[0].partition(":")[2] == text.partition(":")[2] else [text]
    return "; ".join(texts) + "."


def _table(study: StudyResults, groups: Mapping[str, Models], left: Sequence[str]) -> Table:
    return protocol_table(
        study,
        groups,
        [
            figure("random: UAR %", "random", uar_text),
            figure("speakers: UAR %", "speaker", uar_text),
            figure("acc. %", "speaker", accuracy_alone),
            figure("F1", "speaker", f1_alone),
            figure("ECE %", "speaker", lambda scores: percent(scores.ece)),
            change("speaker"),
            figure("corpora: UAR %", "corpus", uar_text),
            change("corpus"),
            Column("train, CPU", _training_time),
        ],
        title="Baselines under the three protocols",
        notes=[
            INTERVAL_NOTE,
            f"{CHANGE_NOTE} ECE: expected calibration error on unseen speakers. Train: "
            "processor time of one fold there, without the extraction of features.",
            *left,
        ],
    )


def _training_time(protocols: Protocols) -> str:
    unseen = protocols.get("speaker")
    return NOTHING if unseen is None else duration(unseen.seconds("train_cpu"))
