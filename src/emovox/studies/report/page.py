"""A study's report as one HTML file that needs nothing else, neither scripts nor the network."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emovox.evaluation.cells import write_text
from emovox.studies.reading import StudyResults
from emovox.studies.report.elements import Section, Table
from emovox.studies.report.front import Front, front
from emovox.studies.report.numbering import Item, numbered
from emovox.studies.report.sections import sections
from emovox.studies.report.wording import NOT_YET, NOTHING, PUBLISHED

if TYPE_CHECKING:
    from markupsafe import Markup

_INTERVAL = re.compile(r"(?P<value>.*?) (?P<interval>\[[^\[\]]*\]c?)(?P<rest>.*)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]{4,}")
_PROSE = 32
"""A column with a text longer than this is read, not compared: its lines may break."""


def write_html(study: StudyResults, path: str | os.PathLike[str], *, source: str = "STUDY.toml") -> None:
    """Write the report of a study, finished or not.

    Args:
        study: the results.
        path: of the HTML file.
        source: path of the study's file, as commands in the report shall name it.
    """
    write_text(Path(path), render(front(study), sections(study, source=source)))


def render(head: Front, found: Sequence[Section]) -> str:
    """Give the page as text.

    Args:
        head: what it says first.
        found: the sections.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("emovox.studies.report"), PackageLoader("emovox.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=figure, text_columns=text_columns, whole=whole, written=written)
    return environment.get_template("study.html").render(head=head, sections=numbered(found))


def written(text: str) -> Markup:
    """Escape a cell's text, and make the interval in it stand back behind the value.

    Example:
        >>> print(written("43.2 [35.3, 51.1]"))
        43.2 <span class="interval">[35.3, 51.1]</span>
    """
    from markupsafe import Markup, escape

    if text in (NOTHING, NOT_YET):
        return Markup('<span class="interval">{}</span>').format(text)
    match = _INTERVAL.fullmatch(text)
    if match is None:
        return escape(text)
    return Markup('{} <span class="interval">{}</span>{}').format(match["value"], match["interval"], match["rest"])


def whole(text: str) -> str:
    r"""Keep a number and its per cent sign in one line.

    Example:
        >>> whole("with 84.1 %")
        'with 84.1\xa0%'
    """
    return re.sub(r"(?<=[\dc\]]) %", "\N{NO-BREAK SPACE}%", text)


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
        plain = [text for text in texts if text != NOT_YET and not _INTERVAL.fullmatch(text)]
        words = sum(1 for text in plain if _WORD.search(text))
        longest = max(map(len, plain), default=0)
        kind = "prose" if longest > _PROSE else "words"
        classes.append(kind if 2 * words > len(texts) else "")
    return classes


def figure(item: Item) -> Markup:
    """Give an item's picture for the page, with ids of its own, so that several pictures can stand on one page."""
    from markupsafe import Markup

    svg = getattr(item.element, "svg", "")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{item.anchor}-\1"', svg)
    svg = re.sub(r'\bhref="#([^"]+)"', rf'href="#{item.anchor}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{item.anchor}-\1)", svg)
    # Our own drawing; names inside it are escaped by matplotlib.
    return Markup(svg)  # noqa: S704
