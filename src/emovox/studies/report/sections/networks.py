"""CNN 1 to 4 and CNN+LSTM 1 to 4: accuracy beside the published one, then unseen speakers and corpora."""

from __future__ import annotations

from collections.abc import Sequence

from emovox.evaluation.report import percent
from emovox.models.architectures import PUBLISHED_CLASSES
from emovox.models.catalog import find
from emovox.studies.reading import StudyResults
from emovox.studies.report.choosing import begun, best_row, final, is_plain, planned
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import figure_text, nothing_yet, remaining
from emovox.studies.report.protocols import (
    CHANGE_NOTE,
    Models,
    best_known,
    by_protocol,
    protocol_picture,
    protocol_table,
    unseen_columns,
)
from emovox.studies.report.settings import (
    INTERVAL_NOTE,
    STRONG_NOTE,
    epoch_notes,
    leak_notes,
    most_epochs,
    setting_paragraphs,
)
from emovox.studies.report.words import NOTHING, PUBLISHED, accuracy_alone, duration, number

TITLE = "CNN and CNN+LSTM"


def section(study: StudyResults) -> Section:
    """Set the networks beside the published ones, then test them on people and corpora they never heard."""
    results = planned(study, "networks")
    if not begun(results):
        return nothing_yet(TITLE, results)
    models: Models = by_protocol(filter(is_plain, results), lambda result: str(result.choice["name"]))
    return Section(
        title=TITLE,
        finding=_finding(models),
        paragraphs=[
            *setting_paragraphs(begun(results)),
            "The 180 features, not scaled, read as a sequence of 180 steps. Adam (0.001), batches of 128, the last "
            "epoch's weights; nothing is stopped early or chosen by test clips. The networks run on PyTorch with "
            "Keras' initial weights and defaults.",
            *epoch_notes(models),
        ],
        content=[_published(models, remaining(results)), *_picture(study, models), _unseen(study, models)],
    )


def _finding(models: Models) -> str:
    found = best_known(models)
    if found is None:
        return "No network is finished on the random split yet."
    best, text = found
    unseen = final(models[best].get("speaker"))
    return f"{text} On speakers whom it never heard its accuracy is {percent(unseen.accuracy)} %." if unseen else text


def _published(models: Models, left: Sequence[str]) -> Table:
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
                _counted(spec.parameters()),
                _counted(spec.parameters(classes=PUBLISHED_CLASSES)),
                _counted(spec.published_parameters()),
                str(most_epochs(of_any)),
                NOTHING if result is None else duration(result.seconds("train_cpu")),
                NOTHING if accuracy is None else percent(accuracy),
                figure_text(result, lambda scores: number(100 * scores.accuracy)),
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
            f"{STRONG_NOTE} on the random split.",
            *leak_notes(results),
            *left,
        ],
    )


def _counted(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _picture(study: StudyResults, models: Models) -> list[Picture]:
    """Draw accuracy, the figure that the study gives, under the three protocols and as published."""
    published = {name: protocols["random"].reference for name, protocols in models.items() if "random" in protocols}
    return protocol_picture(
        study,
        {"": models},
        caption="Accuracy of the networks under the three protocols, and as published.",
        remarks=epoch_notes(models),
        alternative=_finding(models),
        measure="accuracy",
        marks={name: one["test_accuracy"] / 100 for name, one in published.items() if "test_accuracy" in one},
        mark="published (random split)",
    )


def _unseen(study: StudyResults, models: Models) -> Table:
    return protocol_table(
        study,
        {"": models},
        unseen_columns({"acc. %": accuracy_alone}),
        title="The same networks on speakers and on corpora that they never heard",
        notes=[*epoch_notes(models), INTERVAL_NOTE, CHANGE_NOTE],
        name="network",
    )
