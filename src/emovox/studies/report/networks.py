"""CNN 1 to 4 and CNN+LSTM 1 to 4: accuracy beside the published one, then unseen speakers and corpora."""

from __future__ import annotations

from collections.abc import Mapping

from emovox.evaluation.report import percent
from emovox.models.architectures import PUBLISHED_CLASSES
from emovox.models.catalog import find
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, by_protocol, is_plain, nothing_yet, planned
from emovox.studies.report.drawing import Point, Row, points
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.phrases import (
    INTERVAL_NOTE,
    NOTHING,
    PROTOCOLS,
    duration,
    epoch_notes,
    most_epochs,
    remaining,
    uar_text,
)
from emovox.studies.report.wording import (
    CHANGE_NOTE,
    LEAK_HEADING,
    LEGEND,
    ONLY_WHOLE_NOTE,
    PUBLISHED,
    best_row,
    cell,
    chance,
    change_text,
    described,
    final,
    leak_rows,
    number,
)

TITLE = "CNN and CNN+LSTM"
Models = Mapping[str, Mapping[str, Result]]


def section(study: StudyResults) -> Section:
    """Set the networks beside the published ones, then test them on people and corpora they never heard."""
    results = planned(study, "networks")
    if not begun(results):
        return nothing_yet(TITLE, results)
    models: Models = by_protocol(filter(is_plain, results), lambda result: str(result.choice["name"]))
    left = remaining(results)
    picture = _picture(study, models)
    return Section(
        title=TITLE,
        finding=_finding(models),
        paragraphs=[
            *described(result for result in results if result.cells),
            "The 180 features, not scaled, read as a sequence of 180 steps. Adam (0.001), batches of 128, the last "
            "epoch's weights; nothing is stopped early or chosen by test clips. The networks run on PyTorch with "
            "Keras' initial weights and defaults.",
            *epoch_notes(models),
        ],
        content=[_published(models, left), *([picture] if picture else []), _unseen(study, models)],
    )


def _finding(models: Models) -> str:
    known = {name: one for name, protocols in models.items() if (one := final(protocols.get("random")))}
    if not known:
        return "No network is finished on the random split yet."
    best = max(known, key=lambda name: known[name].accuracy)
    text = f"{best} is best on the random split, with an accuracy of {percent(known[best].accuracy)} %"
    published = models[best]["random"].reference.get("test_accuracy")
    text += f" (published: {published:.2f} %)." if published is not None else "."
    unseen = final(models[best].get("speaker"))
    return f"{text} On speakers whom it never heard it reaches {percent(unseen.accuracy)} %." if unseen else text


def _published(models: Models, left: str) -> Table:
    rows = []
    results = [protocols.get("random") for protocols in models.values()]
    for (name, _), result in zip(models.items(), results, strict=True):
        of_any = result or next(iter(models[name].values()))
        spec = find(of_any.choice["name"])
        accuracy = None if result is None else result.training_score("accuracy")
        rows.append(
            [
                name,
                spec.summary,
                _count(spec.parameters()),
                _count(spec.parameters(classes=PUBLISHED_CLASSES)),
                _count(spec.published_parameters()),
                str(most_epochs(of_any)),
                NOTHING if result is None else duration(result.seconds("train_cpu")),
                NOTHING if accuracy is None else percent(accuracy),
                cell(result, lambda scores: number(100 * scores.accuracy)),
                number(of_any.reference.get("test_accuracy")),
            ]
        )
    return Table(
        title="The study's networks: random split, 25 % tested; ours beside the published figures",
        columns=[
            "network",
            "layers",
            "parameters",
            "with 8 units",
            PUBLISHED,
            "epochs",
            "train, CPU",
            "train acc. %",
            "test acc. %",
            PUBLISHED,
        ],
        rows=rows,
        strong=best_row(results),
        notes=[
            "Publ.: the reference study's figure, from its own 55,611 clips with copies of test clips among the "
            "training data; our clips are others and far fewer. Its head has 8 units for 7 classes, ours has 7; with "
            "8 the counts are the same.",
            *(f"Leak: {text}." for text in dict.fromkeys(one.shared for one in results if one) if text),
            *([left] if left else []),
        ],
    )


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _picture(study: StudyResults, models: Models) -> Picture | None:
    """Draw accuracy, the figure that the study gives, under the three protocols and as published."""
    rows = []
    for name, protocols in models.items():
        found: dict[int, Point] = {}
        for place, protocol in enumerate(PROTOCOLS):
            scores = final(protocols.get(protocol))
            if scores is not None:
                ends = scores.interval.accuracy
                found[place] = Point(100 * scores.accuracy, 100 * ends.low, 100 * ends.high)
        published = protocols["random"].reference.get("test_accuracy") if "random" in protocols else None
        rows += [Row(name, found, published)] if found else []
    if not rows:
        return None
    return Picture(
        svg=points([("", rows)], label="accuracy, per cent", chance=chance(study), mark="published (random split)"),
        legend=LEGEND,
        caption="Accuracy of the networks under the three protocols, and as published. Lines: 95 % intervals by "
        f"bootstrap over speakers. {' '.join([*epoch_notes(models), ONLY_WHOLE_NOTE])}",
        alternative=_finding(models),
    )


def _unseen(study: StudyResults, models: Models) -> Table:
    rows: list[list[str]] = []
    for name, protocols in models.items():
        known, unseen, foreign = (protocols.get(protocol) for protocol in PROTOCOLS)
        rows.append(
            [
                name,
                cell(known, uar_text),
                cell(unseen, uar_text),
                cell(unseen, lambda scores: percent(scores.accuracy)),
                change_text(known, unseen),
                cell(foreign, uar_text),
                cell(foreign, lambda scores: percent(scores.accuracy)),
                change_text(known, foreign),
            ]
        )
    shown = [result for protocols in models.values() for result in protocols.values()]
    leak = leak_rows(study, shown, ["random", "speaker", "", "", "corpus", "", ""])
    return Table(
        title="The same networks on speakers and on corpora that they never heard",
        columns=[
            "network",
            "random: UAR %",
            "speakers: UAR %",
            "acc. %",
            "change",
            "corpora: UAR %",
            "acc. %",
            "change",
        ],
        rows=[*rows, *leak],
        groups=[(len(rows), LEAK_HEADING)],
        strong=best_row([protocols.get("speaker") for protocols in models.values()]),
        notes=[*epoch_notes(models), INTERVAL_NOTE, CHANGE_NOTE],
    )
