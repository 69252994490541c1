"""How a study's figures are named and written down, the same in every section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from emovox.evaluation.metrics import Scores
from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.drawing import SHAPE_NAMES, Point
from emovox.studies.report.phrases import NOTHING, PROTOCOLS, signed

_OTHERS: Mapping[str, str] = {"loso": "one speaker out", "within": "within a corpus"}

LEGEND = tuple(f"{title} ({shape})" for title, shape in zip(PROTOCOLS.values(), SHAPE_NAMES, strict=False))
"""For pictures by `emovox.studies.report.drawing.points` with these protocols as series."""

PUBLISHED = "publ."
"""Head of the columns with the reference study's own figures."""

NOT_YET, FAILED = "not yet", "failed"

CHANGE_NOTE = "Change: points of UAR against the random split."
ONLY_WHOLE_NOTE = "The picture shows models of which every fold is finished."


def final(result: Result | None) -> Scores | None:
    """Give the scores of a result whose folds are all finished."""
    return result.scores if result is not None and result.complete else None


def cell(result: Result | None, write: Callable[[Scores], str]) -> str:
    """Write a figure of a result; where there is none say why, and where folds are missing say so."""
    if result is None:
        return NOTHING
    if result.scores is None:
        return FAILED if result.failures else NOT_YET
    text = write(result.scores)
    return text if result.complete else f"{text} ({len(result.cells)} of {result.planned} folds)"


def change_text(before: Result | None, after: Result | None) -> str:
    """Write by how many points UAR changes from one result to another, where both are finished."""
    one, other = final(before), final(after)
    return NOTHING if one is None or other is None else signed(other.uar - one.uar)


def number(value: float | None, digits: int = 2) -> str:
    """Write a number, or a dash where there is none.

    Example:
        >>> number(4284.15), number(1), number(None), number(0.004)
        ('4,284.15', '1.00', '–', '0.00')
    """
    return NOTHING if value is None else f"{value:,.{digits}f}"


def seconds(value: float | None) -> str:
    """Write a time in seconds, short ones with three decimals."""
    return number(value, 2 if value is None or value >= 0.1 else 3)


def point(result: Result | None) -> Point | None:
    """Give the UAR of a finished result for a picture."""
    scores = final(result)
    if scores is None:
        return None
    ends = scores.interval.uar
    return Point(100 * scores.uar, 100 * ends.low, 100 * ends.high)


def points_of(protocols: Mapping[str, Result]) -> dict[int, Point]:
    """Give the finished results of a model for a picture, by the number of the protocol in `PROTOCOLS`."""
    found = {place: point(protocols.get(name)) for place, name in enumerate(PROTOCOLS)}
    return {place: one for place, one in found.items() if one is not None}


def described(results: Iterable[Result]) -> list[str]:
    """Say what figures refer to: corpora, clips, classes, speakers, seed; then how each protocol divides them."""
    told: dict[str, list[str]] = {}
    for result in results:
        protocol = result.protocol
        data, _, aside = protocol["description"].partition(f"; {protocol['name']}: {protocol['sentence']}")
        heading = {**PROTOCOLS, **_OTHERS}.get(protocol["name"], protocol["name"])
        text = f"{heading[:1].upper()}{heading[1:]}: {protocol['sentence']}{aside}."
        divisions = told.setdefault(f"{data}; seed {result.seed}.", [])
        divisions += [] if text in divisions else [text]
    return [f"{data} {' '.join(divisions)}" for data, divisions in told.items()]


def chance(study: StudyResults) -> float:
    """Give the UAR of guessing, in per cent: 100 / number of emotions that occur."""
    return 100 / max(1, sum(1 for count in study.about["emotions"].values() if count))


def best_row(results: Sequence[Result | None]) -> tuple[int, ...]:
    """Give the place of the finished result with the highest UAR, to stress its row; empty without any."""
    scores = [final(result) for result in results]
    found = [(one.uar, place) for place, one in enumerate(scores) if one is not None]
    return (max(found)[1],) if found else ()


LEAK_HEADING = "What training and test share"


def leak_rows(study: StudyResults, results: Iterable[Result], columns: Sequence[str]) -> list[list[str]]:
    """Give rows that say under the figures of each protocol what training and test share, in test clips.

    Args:
        study: the results.
        results: of the table.
        columns: for each column behind the name the name of the protocol whose leak shall stand there, or nothing.
    """
    keys: dict[str, str] = {}
    for result in results:
        keys.setdefault(result.protocol["name"], result.protocol["key"])
    found = [study.leak(keys[name]) if name in keys else None for name in columns]
    copies = "copies of training clips" if study.copies is not None else "copies of training clips (not looked for)"
    told = (
        ("speaker heard in training", [None if one is None else f"{percent(one.speaker_share)} %" for one in found]),
        ("sentence heard in training", [None if one is None else f"{percent(one.sentence_share)} %" for one in found]),
        (copies, [None if one is None or study.copies is None else f"{one.copied_clips:,}" for one in found]),
    )
    return [[name, *(text or "" for text in texts)] for name, texts in told]
