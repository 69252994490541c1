"""Numbers, times and names of models as text: the vocabulary of every section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emovox.evaluation.metrics import Interval, Scores
from emovox.evaluation.report import percent
from emovox.evaluation.significance import Comparison
from emovox.models.catalog import find
from emovox.studies.reading import Result

NOTHING = "\N{EN DASH}"
"""Stands where there is no figure."""

PUBLISHED = "publ."
"""Head of the columns with the reference study's own figures."""


def number(value: float | None, digits: int = 2) -> str:
    """Write a number.

    Example:
        >>> number(4284.15), number(1), number(None), number(0.004)
        ('4,284.15', '1.00', '–', '0.00')
    """
    return NOTHING if value is None else f"{value:,.{digits}f}"


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


def duration(seconds: float | None) -> str:
    """Write a time in the unit that suits it.

    Example:
        >>> duration(3.21), duration(600), duration(9000), duration(None)
        ('3.2 s', '10.0 min', '2.5 h', '–')
    """
    if seconds is None:
        return NOTHING
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def in_seconds(value: float | None) -> str:
    """Write a time in seconds without their unit, to stand beside a published one; short ones with three decimals.

    Example:
        >>> in_seconds(401.0412), in_seconds(0.0213), in_seconds(None)
        ('401.04', '0.021', '–')
    """
    return number(value, 2 if value is None or value >= 0.1 else 3)


def p_value(p: float) -> str:
    """Write a p-value.

    Example:
        >>> p_value(0.00009), p_value(0.03), p_value(1.0)
        ('< 0.001', '0.030', '1.000')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def with_interval(value: float, interval: Interval, over: str) -> str:
    """Write a share and its interval in per cent; ``c`` marks one over clips.

    Example:
        >>> with_interval(0.457, Interval(0.4, 0.5), "clips")
        '45.7 [40.0, 50.0]c'
    """
    return f"{percent(value)} [{percent(interval.low)}, {percent(interval.high)}]{_mark(over)}"


def uar_text(scores: Scores) -> str:
    """Write the UAR of a result with its interval."""
    return with_interval(scores.uar, scores.interval.uar, scores.interval.over)


def accuracy_text(scores: Scores) -> str:
    """Write the accuracy of a result with its interval."""
    return with_interval(scores.accuracy, scores.interval.accuracy, scores.interval.over)


def accuracy_alone(scores: Scores) -> str:
    """Write the accuracy of a result in per cent."""
    return percent(scores.accuracy)


def f1_alone(scores: Scores) -> str:
    """Write the weighted F1 of a result, in [0, 1]."""
    return f"{scores.weighted_f1:.3f}"


def signed(difference: float) -> str:
    """Write a difference of two shares in points, with its sign.

    Example:
        >>> signed(0.1234), signed(-0.02), signed(-0.0001)
        ('+12.3', '−2.0', '0.0')
    """
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"


def difference_text(one: Comparison) -> str:
    """Write by how many points of UAR two models differ, with the interval; ``c`` marks one over clips.

    Example:
        >>> difference = {"difference": 0.123, "low": 0.1, "high": 0.15, "p": 0.01, "p_holm": 0.02, "different": True}
        >>> difference_text(Comparison(first="a", second="b", over="clips", **difference))
        '+12.3 [+10.0, +15.0]c'
    """
    return f"{signed(one.difference)} [{signed(one.low)}, {signed(one.high)}]{_mark(one.over)}"


def listed(items: Sequence[str]) -> str:
    """Join texts as in a sentence.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def opening(text: str) -> str:
    """Write a text as it stands at the beginning of a sentence; letters after the first stay as they are.

    Example:
        >>> opening("unseen speakers of RAVDESS")
        'Unseen speakers of RAVDESS'
    """
    return f"{text[:1].upper()}{text[1:]}"


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


def model_names(results: Sequence[Result]) -> Mapping[str, str]:
    """Give `model_name` by title; where two would be called the same, their titles."""
    short = {result.title: model_name(result) for result in results}
    taken = list(short.values())
    return {title: name if taken.count(name) == 1 else title for title, name in short.items()}


def _mark(over: str) -> str:
    return "" if over == "speakers" else "c"
