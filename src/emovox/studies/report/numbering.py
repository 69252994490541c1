"""Numbers and anchors for sections, figures and tables, the same on the page and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from emovox.evaluation.splitting import slug
from emovox.studies.report.elements import Picture, Section, Table


@dataclass(frozen=True)
class Item:
    """A numbered table or picture.

    Attributes:
        label: ``Table 3`` or ``Figure 2``.
        anchor: ``table-3`` or ``figure-2``.
        element: the table or picture.
    """

    label: str
    anchor: str
    element: Table | Picture

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture."""
        return isinstance(self.element, Picture)


@dataclass(frozen=True)
class NumberedSection:
    """A section whose tables and pictures are numbered.

    Attributes:
        number: of the section, from 1.
        anchor: to point to it.
        section: as it was built.
        content: what it shows.
        folded: what it shows folded up, with titles.
    """

    number: int
    anchor: str
    section: Section
    content: Sequence[Item]
    folded: Sequence[tuple[str, Sequence[Item]]]


def numbered(sections: Sequence[Section]) -> list[NumberedSection]:
    """Number everything from the beginning to the end of a report."""
    tables, figures = count(1), count(1)
    found = []
    for number, section in enumerate(sections, start=1):
        content = [_item(element, tables, figures) for element in section.content]
        folded = [(title, [_item(element, tables, figures) for element in some]) for title, some in section.folded]
        found.append(NumberedSection(number, f"{number}-{slug(section.title)}".strip("-"), section, content, folded))
    return found


def _item(element: Table | Picture, tables: Iterator[int], figures: Iterator[int]) -> Item:
    if isinstance(element, Picture):
        number = next(figures)
        return Item(f"Figure {number}", f"figure-{number}", element)
    number = next(tables)
    return Item(f"Table {number}", f"table-{number}", element)
