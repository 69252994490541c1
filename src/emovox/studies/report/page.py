"""A study's report as one HTML file that needs nothing else, neither scripts nor the network."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emovox.evaluation.cells import write_text
from emovox.studies.reading import StudyResults
from emovox.studies.report.columns import INTERVAL, text_columns
from emovox.studies.report.elements import Section
from emovox.studies.report.front import Front, front
from emovox.studies.report.missing import NOT_YET
from emovox.studies.report.numbering import Item, numbered
from emovox.studies.report.sections import sections
from emovox.studies.report.words import NOTHING

if TYPE_CHECKING:
    from markupsafe import Markup


def write_html(
    study: StudyResults,
    path: str | os.PathLike[str],
    *,
    source: str = "STUDY.toml",
    found: Sequence[Section] | None = None,
) -> None:
    """Write the report of a study, finished or not.

    Args:
        study: the results.
        path: of the HTML file.
        source: path of the study's file, as commands in the report shall name it.
        found: its sections, if they are built already.
    """
    write_text(Path(path), render(front(study), sections(study, source=source) if found is None else found))


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
    match = INTERVAL.fullmatch(text)
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


def figure(item: Item) -> Markup:
    """Give an item's picture for the page, with ids of its own, so that several pictures can stand on one page."""
    from markupsafe import Markup

    svg = getattr(item.element, "svg", "")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{item.anchor}-\1"', svg)
    svg = re.sub(r'\bhref="#([^"]+)"', rf'href="#{item.anchor}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{item.anchor}-\1)", svg)
    # Our own drawing; names inside it are escaped by matplotlib.
    return Markup(svg)  # noqa: S704
