"""Times, differences, names and settings in words, for the sections that look closer at models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from emovox.evaluation.metrics import Interval, Scores
from emovox.evaluation.report import percent
from emovox.models.catalog import find
from emovox.studies.reading import Result, StudyResults

NOTHING = "\N{EN DASH}"
"""Stands where there is no figure."""

INTERVAL_NOTE = (
    "UAR: unweighted average recall. In brackets: 95 % interval by bootstrap over speakers; over clips, and so too "
    "narrow, where marked c (fewer than ten speakers)."
)

PROTOCOLS: Mapping[str, str] = {
    "random": "random split",
    "speaker": "unseen speakers",
    "corpus": "unseen corpora",
}
"""The protocols that stand beside each other throughout the report, by name, and what they are called there.

Their order is that of the page's series colours.
"""

STUDY_EPOCHS = 100
"""Epochs of a network whose parameters do not say how many: the study's."""

DIFFERENT_DATA = (
    "Published: the reference study's figure on its own 55,611 clips, of which identical copies and the same speakers "
    "stand on both sides of the split. Our data are others, so it is context and not a target."
)

_FAILURES_TOLD = 3


def with_interval(value: float, interval: Interval, over: str) -> str:
    """Write a share and its interval in per cent; ``c`` marks one over clips.

    Example:
        >>> with_interval(0.457, Interval(0.4, 0.5), "clips")
        '45.7 [40.0, 50.0]c'
    """
    return f"{percent(value)} [{percent(interval.low)}, {percent(interval.high)}]{_mark(over)}"


def accuracy_text(scores: Scores) -> str:
    """Write the accuracy of a result with its interval."""
    return with_interval(scores.accuracy, scores.interval.accuracy, scores.interval.over)


def uar_text(scores: Scores) -> str:
    """Write the UAR of a result with its interval."""
    return with_interval(scores.uar, scores.interval.uar, scores.interval.over)


def signed(difference: float) -> str:
    """Write a difference of two shares in points, with its sign.

    Example:
        >>> signed(0.1234), signed(-0.02), signed(-0.0001)
        ('+12.3', '−2.0', '0.0')
    """
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"


def points(difference: float, low: float, high: float, over: str) -> str:
    """Write a difference of two shares and its interval in points.

    Example:
        >>> points(0.123, 0.1, 0.15, "speakers")
        '+12.3 [+10.0, +15.0]'
    """
    return f"{signed(difference)} [{signed(low)}, {signed(high)}]{_mark(over)}"


def p_value(p: float) -> str:
    """Write a p-value.

    Example:
        >>> p_value(0.00009), p_value(0.03), p_value(1.0)
        ('< 0.001', '0.030', '1.000')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float | None) -> str:
    """Write a time.

    Example:
        >>> duration(3.21), duration(600), duration(9000), duration(None)
        ('3.2 s', '10.0 min', '2.5 h', '–')
    """
    if seconds is None:
        return NOTHING
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def mean_range(values: Sequence[float], digits: int = 0) -> str:
    """Write several numbers, one for each fold, as their mean and their range; one number as itself.

    Example:
        >>> mean_range([8, 10, 9]), mean_range([46]), mean_range([])
        ('9 (8–10)', '46', '–')
    """
    if not values:
        return NOTHING
    low, high = (f"{end(values):.{digits}f}" for end in (min, max))
    mean = f"{sum(values) / len(values):.{digits}f}"
    return mean if low == high else f"{mean} ({low}\N{EN DASH}{high})"


def listed(items: Sequence[str]) -> str:
    """Join texts as in a sentence.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def most_epochs(result: Result) -> int:
    """Say how many epochs a network was allowed."""
    return int(result.choice["parameters"].get("epochs", STUDY_EPOCHS))


def epoch_notes(models: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """Say which networks were given fewer epochs than the study's, and under which protocols.

    Args:
        models: by name their results by the name of the protocol.
    """
    told: dict[str, list[str]] = {}
    for name, protocols in models.items():
        epochs = {protocol: most_epochs(result) for protocol, result in protocols.items() if _is_network(result)}
        if any(count < STUDY_EPOCHS for count in epochs.values()):
            counts = [f"{count} ({PROTOCOLS.get(protocol, protocol)})" for protocol, count in epochs.items()]
            told.setdefault(", ".join(counts), []).append(name)
    return [
        f"Epochs, at most: {counts}, instead of the study's {STUDY_EPOCHS}: {listed(names)}."
        for counts, names in told.items()
    ]


def _is_network(result: Result) -> bool:
    return find(result.choice["name"]).family == "network"


def model_name(result: Result) -> str:
    """Name a model for people: with its feature set where that is not its own, and a network's optimiser and epochs.

    Early stopping and rows that were put aside are left to the section's text.
    """
    choice = result.choice
    parts = [] if choice["features"] == find(choice["name"]).input else [choice["features"]]
    for key, value in choice["parameters"].items():
        if key == "optimizer":
            parts.append(str(value))
        elif key == "epochs":
            parts.append(f"{value} epochs")
        elif key not in ("early_stopping", "reduce_lr"):
            parts.append(f"{key} {value}")
    return ", ".join([choice["name"], *parts])


def names(results: Sequence[Result]) -> Mapping[str, str]:
    """Give `model_name` by title; where two would be called the same, their titles."""
    short = {result.title: model_name(result) for result in results}
    taken = list(short.values())
    return {title: name if taken.count(name) == 1 else title for title, name in short.items()}


def settings(results: Sequence[Result]) -> list[str]:
    """Say once for each protocol what figures refer to: corpora, classes, clips, speakers, division, seed, leak."""
    return list(
        dict.fromkeys(
            f"{result.protocol['description']}{_fewer(result)}; seed {result.seed}.{_leak(result)}"
            for result in results
        )
    )


def _leak(result: Result) -> str:
    return f" Leak: {result.shared}." if result.shared else ""


def remaining(results: Sequence[Result]) -> str:
    """Say how many cells of some results are missing, and what failed; empty if all are there."""
    planned = sum(result.planned for result in results)
    failed = [
        f"{model_name(result)}, {result.protocol['key']}, fold {fold}: {_first_line(error)}"
        for result in results
        for fold, error in result.failures
    ]
    left = planned - sum(len(result.cells) for result in results) - len(failed)
    texts = [f"Not computed yet: {left:,} of {planned:,} cells."] if left else []
    if failed:
        more = "; ..." if len(failed) > _FAILURES_TOLD else ""
        texts.append(f"Failed: {len(failed):,} of {planned:,} cells ({'; '.join(failed[:_FAILURES_TOLD])}{more}).")
    return " ".join(texts)


def why_missing(result: Result) -> str:
    """Say of a result without any finished fold why there is no figure."""
    if result.failures:
        return f"failed: {_first_line(result.failures[0][1])}"
    return f"not computed yet (0 of {result.planned} cells)"


def of_folds(result: Result) -> str:
    """Mark a result of which folds are missing; empty if it is whole."""
    return "" if result.complete else f" ({len(result.cells)} of {result.planned} folds)"


def absent(study: StudyResults) -> str:
    """Name the corpora that the study wants and that were not at hand; empty if there are none."""
    gone = [name.upper() for name in study.about.get("absent", ())]
    if not gone:
        return ""
    verb, them = ("is", "it") if len(gone) == 1 else ("are", "them")
    return f"{listed(gone)} {verb} absent: no recording of {them} was at hand."


def _fewer(result: Result) -> str:
    """Say where there are fewer speakers than folds were asked for."""
    wanted = re.match(r"speaker-(\d+)", str(result.protocol["key"]))
    return f" ({result.planned} folds, for want of speakers)" if wanted and result.planned < int(wanted[1]) else ""


def _mark(over: str) -> str:
    return "" if over == "speakers" else "c"


def _first_line(error: Mapping[str, str]) -> str:
    return error["message"].splitlines()[0][:200]
