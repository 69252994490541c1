"""What a table's columns hold: names, numbers, words or whole sentences."""

from __future__ import annotations

import re

from emovox.studies.report.elements import Table
from emovox.studies.report.missing import NOT_YET
from emovox.studies.report.words import PUBLISHED

INTERVAL = re.compile(r"(?P<value>.*?) (?P<interval>\[[^\[\]]*\]c?)(?P<rest>.*)", re.DOTALL)
"""A cell with a value and its interval."""

_WORD = re.compile(r"[A-Za-z]{4,}")
_PROSE = 32
"""A column with a text longer than this is read, not compared: its lines may break."""


def text_columns(table: Table) -> list[str]:
    """Give a class for each column: ``name`` for the first, ``prose`` and ``words`` for text, empty for numbers.

    Published figures, which are not ours, are ``published``.
    """
    classes = ["name"]
    for column in range(1, len(table.columns)):
        if table.columns[column].startswith(PUBLISHED.rstrip(".")):
            classes.append("published")
            continue
        texts = [row[column] for row in table.rows]
        plain = [text for text in texts if text != NOT_YET and not INTERVAL.fullmatch(text)]
        words = sum(1 for text in plain if _WORD.search(text))
        longest = max(map(len, plain), default=0)
        kind = "prose" if longest > _PROSE else "words"
        classes.append(kind if 2 * words > len(texts) else "")
    return classes
