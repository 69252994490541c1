"""What a report consists of: sections of text, tables and pictures, apart from how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        title: says what it shows; corpora, classes and protocol stand in the section's text, in the title or a note.
        columns: heads.
        rows: texts, as many as there are heads; the first column names the row.
        strong: numbers of rows to stress.
        groups: number of a row and the text of a line that stands before it and spans all columns.
        notes: what must be known to read it, a paragraph each.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[int] = ()
    groups: Sequence[tuple[int, str]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture.

    Attributes:
        svg: an ``<svg>`` element that takes its colours from the page (`emovox.evaluation.figures`).
        caption: what it shows and how to read it.
        legend: names of its series; series n has the page's colour ``--series-n``, counted from 1.
        alternative: for people who do not see it: what a reader should take from it.
    """

    svg: str
    caption: str
    alternative: str
    legend: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the report.

    Attributes:
        title: short.
        finding: what came out, in a sentence or two with figures.
        paragraphs: how it was done.
        content: tables and pictures in the order in which they stand.
        folded: what only some readers want, shown folded up under a title.
    """

    title: str
    finding: str
    paragraphs: Sequence[str] = ()
    content: Sequence[Table | Picture] = ()
    folded: Sequence[tuple[str, Sequence[Table | Picture]]] = field(default_factory=tuple)
