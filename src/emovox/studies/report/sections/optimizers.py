"""The section on the custom model with seven optimisers, plain and with early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from emovox.evaluation.report import percent
from emovox.models.optimizers import OPTIMIZERS
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, best, planned, scores_of, under
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import nothing_yet, of_folds, remaining, why_missing
from emovox.studies.report.pictures.curves import Curves, learning_curves
from emovox.studies.report.pictures.style import with_shapes
from emovox.studies.report.settings import (
    DIFFERENT_DATA,
    INTERVAL_NOTE,
    STRONG_NOTE,
    STUDY_EPOCHS,
    most_epochs,
    setting_notes,
)
from emovox.studies.report.words import NOTHING, duration, mean_range, uar_text

TITLE = "The custom model with seven optimisers"

_PLAIN, _WITH_CALLBACKS = "plain", "early stopping and learning rate reduction"

_RANDOM_COLUMNS = (
    "optimiser",
    "epochs run",
    "best epoch",
    "training time",
    "accuracy %",
    "published %",
    "published epochs",
    "UAR %",
)
_UNSEEN_COLUMNS = ("optimiser", "epochs run", "best epoch", "training time", "accuracy %", "UAR %")


def section(study: StudyResults) -> Section:
    """Show what each optimiser reached on known voices, on unseen speakers and on unseen corpora."""
    results = planned(study, "optimizers")
    if not begun(results):
        return nothing_yet(TITLE, results)
    random, speaker, corpus = (under(results, name) for name in ("random", "speaker", "corpus"))
    content: list[Table | Picture] = []
    if random:
        content.append(_random_table(random))
        content += _curves(random)
    if speaker or corpus:
        content.append(_unseen_table([*speaker, *corpus]))
    return Section(
        title=TITLE,
        finding=_finding(random, speaker, corpus),
        paragraphs=[
            "The two-branch network with its seven optimisers at Keras' defaults, batches of 128. A fifth of the "
            "training rows is held out, by chance on the random split and by speakers elsewhere; the network is "
            "fitted on the other four fifths. Early stopping (patience 10) and the halving of the learning rate "
            "(patience 5) watch the validation loss on these rows; the weights of the best epoch are taken. "
            "Plain runs take those of the last epoch.",
            "What differs from the published figures: the study let both callbacks watch the test part and so fitted "
            "on all training rows and chose the epoch on the test; its head has 8 units for 7 emotions, ours has 7.",
            *remaining(results),
        ],
        content=content,
    )


def _finding(random: Sequence[Result], speaker: Sequence[Result], corpus: Sequence[Result]) -> str:
    known = best(random)
    texts = []
    if known is not None:
        scores = scores_of(known)
        published = _published(known)
        beside = "" if published is None else f" (published: {published:.2f} %)"
        texts.append(
            f"On known voices {optimizer_of(known)} ({_callbacks(known)}) has the highest UAR{_so_far(random)}: "
            f"{uar_text(scores)} %, accuracy {percent(scores.accuracy)} %{beside}."
        )
    for results, where in ((speaker, "On unseen speakers"), (corpus, "On unseen corpora")):
        first = best(results)
        if first is not None:
            texts.append(
                f"{where}, at most {most_epochs(first)} epochs, {optimizer_of(first)} has the highest UAR"
                f"{_so_far(results)}: {uar_text(scores_of(first))} %."
            )
    return " ".join(texts)


def _so_far(results: Sequence[Result]) -> str:
    """Say of how many runs a best one is the best, where some are missing."""
    done = sum(one.complete for one in results)
    return "" if done == len(results) else f" of the {done} of {len(results)} runs that are finished"


def _published(result: Result) -> float | None:
    """Give the published accuracy of an optimiser in per cent, with the same callbacks."""
    published = OPTIMIZERS[optimizer_of(result)].reference
    return published.get("early_stopping_test_accuracy" if _stops(result) else "test_accuracy")


def _random_table(results: Sequence[Result]) -> Table:
    rows: list[list[str]] = []
    groups: list[tuple[int, str]] = []
    strong: list[int] = []
    for epochs, stops in sorted({(most_epochs(one), _stops(one)) for one in results}, key=lambda one: one[1]):
        of_group = _ordered([one for one in results if (most_epochs(one), _stops(one)) == (epochs, stops)])
        callbacks = "early stopping and learning rate reduction, at most" if stops else "plain,"
        groups.append((len(rows), f"{callbacks} {epochs} epochs".capitalize()))
        first = best(of_group)
        strong += [len(rows) + place for place, one in enumerate(of_group) if one is first]
        rows += [_random_row(one) for one in of_group]
    fewer = sorted({most_epochs(one) for one in results} - {STUDY_EPOCHS})
    return Table(
        title="Known voices (random split)"
        + (f"; fewer epochs than the study's {STUDY_EPOCHS}: {', '.join(map(str, fewer))}" if fewer else ""),
        columns=_RANDOM_COLUMNS,
        rows=rows,
        groups=groups,
        strong=strong,
        notes=[
            *setting_notes(results),
            f"{INTERVAL_NOTE} Training time: processor time of one fold on one thread. Best epoch: lowest validation "
            "loss; plain runs do not go back to it.",
            f"{STRONG_NOTE} of each part of the table. Which differences between rows are more than chance is not "
            "tested here.",
            DIFFERENT_DATA,
        ],
    )


def _random_row(result: Result) -> list[str]:
    accuracy = _published(result)
    epochs = OPTIMIZERS[optimizer_of(result)].reference.get("early_stopping_epochs") if _stops(result) else STUDY_EPOCHS
    told = [
        NOTHING if accuracy is None else f"{accuracy:.2f}",
        NOTHING if epochs is None or accuracy is None else f"{epochs:.0f}",
    ]
    if not result.cells:
        return [optimizer_of(result), why_missing(result), "", "", "", *told, ""]
    scores = scores_of(result)
    return [*_trained(result), percent(scores.accuracy), *told, uar_text(scores)]


def _unseen_table(results: Sequence[Result]) -> Table:
    rows: list[list[str]] = []
    groups: list[tuple[int, str]] = []
    strong: list[int] = []
    limits: list[str] = []
    for protocol, words in (("speaker", "unseen speakers"), ("corpus", "unseen corpora")):
        of_protocol = under(results, protocol)
        for epochs in sorted({most_epochs(one) for one in of_protocol}):
            of_group = _ordered([one for one in of_protocol if most_epochs(one) == epochs])
            limits.append(f"at most {epochs} epochs on {words}")
            first = best(of_group)
            strong += [len(rows) + place for place, one in enumerate(of_group) if one is first]
            folds = max(one.planned for one in of_group)
            groups.append((len(rows), f"{words.capitalize()}, {folds} folds, at most {epochs} epochs"))
            rows += [_unseen_row(one) for one in of_group]
    return Table(
        title=f"People and corpora that the network never heard: {', '.join(limits)} (the study: {STUDY_EPOCHS})",
        columns=_UNSEEN_COLUMNS,
        rows=rows,
        groups=groups,
        strong=strong,
        notes=[
            *setting_notes(results),
            "With so few epochs, slow optimisers (Adagrad, Adadelta, SGD) have not come to rest: compare these rows "
            "with each other, and with the random split only with this in mind.",
            f"{INTERVAL_NOTE} Epochs and training time: mean of the folds (lowest to highest). The study has no such "
            "figures.",
        ],
    )


def _unseen_row(result: Result) -> list[str]:
    if not result.cells:
        return [optimizer_of(result), why_missing(result), "", "", "", ""]
    scores = scores_of(result)
    return [*_trained(result), percent(scores.accuracy), uar_text(scores)]


def _trained(result: Result) -> list[str]:
    """Give optimiser, epochs, best epoch and time of a result with finished folds."""
    histories = result.histories
    chosen = [history["best_epoch"] for history in histories if history.get("best_epoch") is not None]
    return [
        optimizer_of(result) + of_folds(result),
        mean_range([history["epochs"] for history in histories]),
        mean_range(chosen),
        duration(result.seconds("train_cpu")),
    ]


def _curves(results: Sequence[Result]) -> list[Picture]:
    """Draw loss and accuracy by epoch, a panel for each optimiser."""
    of_optimizer: dict[str, dict[str, Curves]] = {}
    for result in _ordered(begun(results)):
        if result.histories:
            name = _WITH_CALLBACKS if _stops(result) else _PLAIN
            of_optimizer.setdefault(optimizer_of(result), {})[name] = Curves.of(result.histories[0])
    if not of_optimizer:
        return []
    reading = (
        "Full lines: held-out validation rows; dotted: rows that were fitted. A hollow mark of the shape in the legend "
        "stands at the epoch with the lowest validation loss. No test clip is in these curves."
    )
    scales: list[tuple[Literal["accuracy", "loss"], str, str]] = [
        ("accuracy", "Accuracy", ""),
        ("loss", "Loss", " The scale is logarithmic; losses hold the L2 penalty, as Keras' do."),
    ]
    return [
        Picture(
            svg=learning_curves(of_optimizer, measure),
            caption=f"{name} by epoch on the random split. {reading}{more}",
            alternative=f"{name} of {len(of_optimizer)} optimisers by epoch; the tables give epochs and results.",
            legend=with_shapes(list(dict.fromkeys(way for ways in of_optimizer.values() for way in ways))),
        )
        for measure, name, more in scales
    ]


def optimizer_of(result: Result) -> str:
    """Name the optimiser of a network; Adam where its parameters do not say."""
    return str(result.choice["parameters"].get("optimizer", "adam"))


def _stops(result: Result) -> bool:
    return bool(result.choice["parameters"].get("early_stopping"))


def _callbacks(result: Result) -> str:
    return "early stopping" if _stops(result) else "plain"


def _ordered(results: Sequence[Result]) -> list[Result]:
    """Sort by the study's order of optimisers."""
    order = list(OPTIMIZERS)
    return sorted(results, key=lambda one: order.index(optimizer_of(one)))
