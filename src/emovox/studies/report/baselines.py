"""What a practitioner would try: scaled models and other feature sets, and this package's own network."""

from __future__ import annotations

from collections.abc import Mapping

from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, by_protocol, nothing_yet, planned
from emovox.studies.report.drawing import Row, points
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.phrases import INTERVAL_NOTE, NOTHING, PROTOCOLS, duration, remaining, uar_text
from emovox.studies.report.wording import (
    CHANGE_NOTE,
    LEAK_HEADING,
    LEGEND,
    ONLY_WHOLE_NOTE,
    best_row,
    cell,
    chance,
    change_text,
    described,
    final,
    leak_rows,
    points_of,
)

TITLE = "Stronger baselines, and this package's own network"
FEATURES: Mapping[str, str] = {
    "classic": "the study's 180 features",
    "egemaps": "eGeMAPS (88, openSMILE)",
    "compare": "ComParE 2016 (6,373, openSMILE)",
    "waveform": "the waveform",
}
"""What models see, in words; the order of the table."""

Models = Mapping[str, Mapping[str, Result]]


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
    picture = _picture(study, groups)
    return Section(
        title=TITLE,
        finding=_finding(groups),
        paragraphs=[
            *described(result for result in results if result.cells),
            "Not part of the reference study. Models with the ending -scaled standardise the features; mean and "
            "scale come from the training clips alone. hist-gradient-boosting is scikit-learn's, on features as they "
            "are. Nothing was tuned on these tests: one setting for all feature sets and protocols.",
            "speechnet is the network behind the command emovox predict: blocks of a speech recogniser's encoder that "
            "stay as they were pretrained, and one linear layer on top.",
        ],
        content=[*([picture] if picture else []), _table(study, groups, remaining(results))],
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


def _picture(study: StudyResults, groups: Mapping[str, Models]) -> Picture | None:
    drawn = []
    for features, models in groups.items():
        rows = [Row(name, points_of(protocols)) for name, protocols in models.items() if points_of(protocols)]
        drawn += [(_heading(features), rows)] if rows else []
    if not drawn:
        return None
    return Picture(
        svg=points(drawn, label="UAR, per cent", chance=chance(study)),
        legend=LEGEND,
        caption=f"Baselines by what they see. Lines: 95 % intervals by bootstrap over speakers. {ONLY_WHOLE_NOTE}",
        alternative=_finding(groups),
    )


def _heading(features: str) -> str:
    text = FEATURES.get(features, features)
    return f"On {text}"


def _table(study: StudyResults, groups: Mapping[str, Models], left: str) -> Table:
    rows: list[list[str]] = []
    heads = []
    shown: list[Result | None] = []
    for features, models in groups.items():
        heads.append((len(rows), _heading(features)))
        for name, protocols in models.items():
            known, unseen, foreign = (protocols.get(protocol) for protocol in PROTOCOLS)
            shown.append(unseen)
            rows.append(
                [
                    name,
                    cell(known, uar_text),
                    cell(unseen, uar_text),
                    cell(unseen, lambda scores: percent(scores.accuracy)),
                    cell(unseen, lambda scores: f"{scores.weighted_f1:.3f}"),
                    cell(unseen, lambda scores: percent(scores.ece)),
                    change_text(known, unseen),
                    cell(foreign, uar_text),
                    change_text(known, foreign),
                    NOTHING if unseen is None else duration(unseen.seconds("train_cpu")),
                ]
            )
    every = [result for models in groups.values() for one in models.values() for result in one.values()]
    heads.append((len(rows), LEAK_HEADING))
    rows += leak_rows(study, every, ["random", "speaker", "", "", "", "", "corpus", "", ""])
    return Table(
        title="Baselines under the three protocols",
        columns=[
            "model",
            "random: UAR %",
            "speakers: UAR %",
            "acc. %",
            "F1",
            "ECE %",
            "change",
            "corpora: UAR %",
            "change",
            "train, CPU",
        ],
        rows=rows,
        groups=heads,
        strong=best_row(shown),
        notes=[
            INTERVAL_NOTE,
            f"{CHANGE_NOTE} ECE: expected calibration error on unseen speakers. Train: "
            "processor time of one fold there, without the extraction of features.",
            *([left] if left else []),
        ],
    )
