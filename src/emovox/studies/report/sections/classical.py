"""The eight classical models: the study's table beside ours, training sizes, unseen speakers and corpora."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, best_row, final, planned, under
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import figure_text, nothing_yet, remaining
from emovox.studies.report.pictures.bars import Panel, bars
from emovox.studies.report.protocols import CHANGE_NOTE, Models, best_known, by_protocol, protocol_table, unseen_columns
from emovox.studies.report.settings import (
    INTERVAL_NOTE,
    ONLY_WHOLE_NOTE,
    PROTOCOLS,
    STRONG_NOTE,
    leak_notes,
    setting_paragraphs,
)
from emovox.studies.report.words import (
    NOTHING,
    PUBLISHED,
    accuracy_alone,
    f1_alone,
    in_seconds,
    number,
    opening,
    uar_text,
)

TITLE = "Eight classical models"
_MEASURES: Mapping[str, str] = {"accuracy": "Accuracy", "weighted_f1": "Weighted F1"}


def section(study: StudyResults) -> Section:
    """Set the classical models beside the published ones, then test them on people and corpora they never heard."""
    results = planned(study, "classical")
    if not begun(results):
        return nothing_yet(TITLE, results)
    whole = [result for result in results if result.choice["size"] == 1]
    models = by_protocol(whole, lambda result: str(result.choice["name"]))
    pictures = [one for name in ("random", "speaker") if (one := _sizes(under(results, name), name)) is not None]
    return Section(
        title=TITLE,
        finding=_finding(models),
        paragraphs=[
            *setting_paragraphs(result for result in whole if result.cells),
            "scikit-learn's defaults (the multilayer perceptron with max_iter=500) on the study's 180 features, not "
            "scaled, as in the study. Models that are scaled stand in the section on baselines.",
        ],
        content=[_published(models, remaining(results)), *pictures, _unseen(study, models)],
        folded=[("All figures at 1 %, 10 % and 100 % of the training data", [_size_table(results)])],
    )


def _finding(models: Models) -> str:
    found = best_known(models)
    if found is None:
        return "No model is finished on the random split yet."
    best, text = found
    unseen = final(models[best].get("speaker"))
    if unseen:
        text += f" On speakers whom it never heard it reaches {percent(unseen.accuracy)} %"
        foreign = final(models[best].get("corpus"))
        text += f", on corpora that it never heard {percent(foreign.accuracy)} %." if foreign else "."
    return text


def _published(models: Models, left: Sequence[str]) -> Table:
    rows = []
    for name, protocols in models.items():
        result = protocols.get("random")
        if result is None:
            continue
        published = result.reference

        def beside(ours: str, key: str, digits: int, published: Mapping[str, float] = published) -> list[str]:
            return [ours, number(published.get(key), digits)]

        f1, accuracy = result.training_score("weighted_f1"), result.training_score("accuracy")
        rows.append(
            [
                name,
                *beside(in_seconds(result.seconds("train_cpu")), "train_seconds", 2),
                *beside(number(f1), "train_f1", 2),
                *beside(number(None if accuracy is None else 100 * accuracy), "train_accuracy", 2),
                *beside(in_seconds(result.seconds("test_cpu")), "test_seconds", 2),
                *beside(figure_text(result, lambda scores: number(scores.weighted_f1)), "test_f1", 2),
                *beside(figure_text(result, lambda scores: number(100 * scores.accuracy)), "test_accuracy", 2),
            ]
        )
    heads = ["train s", "train F1", "train acc. %", "test s", "test F1", "test acc. %"]
    notes = [
        "Publ.: the reference study's figure, from its own 55,611 clips (41,708 to train on), with copies of test "
        "clips among the training data. Ours are from other, far fewer clips, so the two do not measure the same.",
        "Seconds of ours are processor time of one core, those of the study were taken on another machine: with the "
        "number of clips they tell orders of magnitude only. F1 is weighted by support.",
        "svc predicts as scikit-learn's SVC does; its probabilities, which no figure of this section uses, are made by "
        "voting.",
    ]
    shown = [protocols["random"] for protocols in models.values() if "random" in protocols]
    return Table(
        title="The study's table: random split, 25 % tested; ours beside the published figures",
        columns=["model", *(head for ours in heads for head in (ours, PUBLISHED))],
        rows=rows,
        strong=best_row(shown),
        notes=[*notes, f"{STRONG_NOTE} on the random split.", *leak_notes(shown), *left],
    )


def _unseen(study: StudyResults, models: Models) -> Table:
    return protocol_table(
        study,
        {"": models},
        unseen_columns({"acc. %": accuracy_alone, "F1": f1_alone}),
        title="The same models on speakers and on corpora that they never heard",
        notes=[INTERVAL_NOTE, CHANGE_NOTE],
    )


def _sizes(results: Sequence[Result], protocol: str) -> Picture | None:
    """Draw accuracy and F1 on training and test data at each size, as the study does."""
    done = [result for result in results if result.complete]
    sizes = sorted({float(result.choice["size"]) for result in done})
    names = list(dict.fromkeys(str(result.choice["name"]) for result in results))
    if not done or len(sizes) < 2:
        return None
    found = {(str(result.choice["name"]), float(result.choice["size"])): result for result in done}

    def panel(measure: str, *, trained: bool) -> Panel:
        values = []
        for size in sizes:
            of_size = {name: found[name, size] for name in names if (name, size) in found}
            figures = {name: _figure(result, measure, trained=trained) for name, result in of_size.items()}
            values.append({name: value for name, value in figures.items() if value is not None})
        marks = {} if protocol != "random" else _marks(done, measure, trained=trained)
        return Panel(f"{_MEASURES[measure]}, {'training' if trained else 'test'} data", values, marks)

    published = " Lines: published, at 100 %." if protocol == "random" else ""
    return Picture(
        svg=bars(
            names,
            [[panel(measure, trained=trained) for trained in (True, False)] for measure in _MEASURES],
            [f"{100 * size:g} % of the training data" for size in sizes],
            color=list(PROTOCOLS).index(protocol),
            mark="published, at 100 %",
        ),
        caption=f"{opening(PROTOCOLS[protocol])}: accuracy and weighted F1 with 1 %, 10 % and 100 % of the training "
        f"data, each model fitted anew at each size.{published} {ONLY_WHOLE_NOTE}",
        alternative=f"Grouped bars for {', '.join(names)}; the figures stand in the table of sizes below.",
    )


def _figure(result: Result, measure: str, *, trained: bool) -> float | None:
    if trained:
        return result.training_score(measure)
    return None if result.scores is None else float(getattr(result.scores, measure))


def _marks(results: Sequence[Result], measure: str, *, trained: bool) -> dict[str, float]:
    key = f"{'train' if trained else 'test'}_{'accuracy' if measure == 'accuracy' else 'f1'}"
    scale = 100 if measure == "accuracy" else 1
    return {str(one.choice["name"]): one.reference[key] / scale for one in results if key in one.reference}


def _size_table(results: Sequence[Result]) -> Table:
    rows: list[list[str]] = []
    heads: list[tuple[int, str]] = []
    for protocol in ("random", "speaker"):
        some = begun(under(results, protocol))
        if some:
            heads.append((len(rows), opening(PROTOCOLS[protocol])))
        for result in some:
            trained = [result.training_score(measure) for measure in _MEASURES]
            clips = sum(one.clips["train"] for one in result.cells) / len(result.cells)
            rows.append(
                [
                    str(result.choice["name"]),
                    f"{100 * result.choice['size']:g} %",
                    f"{clips:,.0f}",
                    *(NOTHING if value is None else percent(value) for value in trained),
                    figure_text(result, accuracy_alone),
                    figure_text(result, lambda scores: percent(scores.weighted_f1)),
                    figure_text(result, uar_text),
                ]
            )
    leaks = {result.protocol["key"]: result.shared for result in results if result.choice["size"] < 1}
    columns = ["model", "of training", "clips", "train acc. %", "train F1 %", "test acc. %", "test F1 %", "test UAR %"]
    return Table(
        title="Each model at each size",
        columns=columns,
        rows=rows,
        groups=heads,
        notes=[
            "Clips: that a model is fitted on, mean of the folds. A smaller sample is part of the larger ones, and "
            "holds every emotion in its share.",
            *(f"Leak under {key}: {shared}." for key, shared in leaks.items() if shared),
            INTERVAL_NOTE,
        ],
    )
