"""A study's report as Markdown for GitHub: the same tables, and pictures as SVG files beside it."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from emovox.errors import ParameterError
from emovox.evaluation.cells import write_text
from emovox.studies.reading import StudyResults
from emovox.studies.report.columns import text_columns
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.front import Front, front
from emovox.studies.report.numbering import Item, numbered
from emovox.studies.report.sections import sections

COLOURS: Mapping[str, str] = {
    "ink": "#7a828e",
    "muted": "#8a919d",
    "line": "rgba(128, 128, 128, 0.3)",
    "card": "rgba(128, 128, 128, 0.08)",
    "paper": "rgba(128, 128, 128, 0.08)",
    "accent": "#1c938b",
    "hit": "30, 150, 142",
    "miss": "206, 98, 62",
    "series-1": "#d98a00",
    "series-2": "#0e9a78",
    "series-3": "#3a86cf",
    "series-4": "#c06a9e",
    "series-5": "#d8651f",
    "series-6": "#4ba3d6",
}
"""Tones that can be read on white and on GitHub's dark page alike, for the page's variables."""

_LETTER, _LINE = 5.6, 17
"""Width of a letter and height of a line of the legend, in the picture's units of a point."""

_VARIABLE = re.compile(r"var\(--([a-z0-9-]+)\)")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~$&#])")


def write_markdown(
    study: StudyResults,
    path: str | os.PathLike[str],
    *,
    pictures: str | os.PathLike[str],
    source: str = "STUDY.toml",
    found: Sequence[Section] | None = None,
) -> None:
    """Write the report of a study as Markdown, and its pictures; pictures of an earlier report are removed.

    Args:
        study: the results, finished or not.
        path: of the Markdown file.
        pictures: folder of the SVG files, which holds nothing else; in the file it stands relative to the file.
        source: path of the study's file, as commands in the report shall name it.
        found: its sections, if they are built already.
    """
    target, folder = Path(path), Path(pictures)
    place = Path(os.path.relpath(folder.absolute(), target.absolute().parent)).as_posix()
    text, files = render(front(study), sections(study, source=source) if found is None else found, place=place)
    for old in folder.glob("figure-*.svg"):
        old.unlink()
    for name, svg in files.items():
        write_text(folder / name, svg)
    write_text(target, text)


def render(head: Front, found: Sequence[Section], *, place: str) -> tuple[str, dict[str, str]]:
    """Give the report as Markdown, and the SVG files that it shows by their names.

    Args:
        head: what it says first.
        found: the sections.
        place: folder of the pictures, as links name it.
    """
    files: dict[str, str] = {}
    lines = [f"# {escape(head.title)}", "", f"**{escape(head.finding)}**", ""]
    lines += [", ".join(escape(f"{value} {name}") for value, name in head.facts) + ".", ""]
    for note in head.warnings:
        lines += [f"> {escape(note)}", ""]
    for one in numbered(found):
        lines += [f"## {one.number} {escape(one.section.title)}", "", f"**{escape(one.section.finding)}**", ""]
        for text in one.section.paragraphs:
            lines += [escape(text), ""]
        for item in one.content:
            lines += [*_item(item, place, files), ""]
        for title, items in one.folded:
            lines += [f"<details><summary>{escape(title)}</summary>", ""]
            for item in items:
                lines += [*_item(item, place, files), ""]
            lines += ["</details>", ""]
    return "\n".join(lines), files


def escape(text: str) -> str:
    r"""Give a text that Markdown and HTML take for what it is, in one line.

    Example:
        >>> print(escape("a|b <i> *c*"))
        a\|b &lt;i&gt; \*c\*
    """
    plain = " ".join(text.split())
    return _SPECIAL.sub(lambda match: _HTML.get(match[1], f"\\{match[1]}"), plain)


_LEFT = ("name", "words", "prose")
_HTML: Mapping[str, str] = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def concrete(svg: str) -> str:
    """Give a picture that stands alone: with colours instead of the page's variables, and a size.

    Raises:
        ParameterError: if it uses a variable that has no colour in `COLOURS`.
    """
    unknown = sorted(set(_VARIABLE.findall(svg)) - set(COLOURS))
    if unknown:
        raise ParameterError(f"a picture uses the page's colours {', '.join(unknown)}, which have no tone for files")
    text = _VARIABLE.sub(lambda match: COLOURS[match[1]], svg)
    box = re.search(r'viewBox="0 [-\d.]+ ([\d.]+) ([\d.]+)"', text)
    size = f' width="{float(box[1]):g}pt" height="{float(box[2]):g}pt"' if box else ""
    return f"{text.replace('<svg', f'<svg{size}', 1).strip()}\n"


def with_legend(svg: str, legend: Sequence[str]) -> str:
    """Give a picture with its legend above it, which on the page stands beside the picture.

    Args:
        svg: of one picture, with the page's variables.
        legend: names of its series.
    """
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if box is None or not legend:
        return svg
    width, height = float(box[1]), float(box[2])
    texts, x, y = [], 8.0, 0
    for number, name in enumerate(legend, start=1):
        room = 24 + _LETTER * len(name)
        if x > 8 and x + room > width:
            x, y = 8.0, y + _LINE
        texts.append(
            f'<rect x="{x:g}" y="{y + 5:g}" width="9" height="9" rx="2" style="fill: var(--series-{number})"/>'
            f'<text x="{x + 14:g}" y="{y + 13:g}" style="font: 10px sans-serif; fill: var(--ink)">'
            f"{html.escape(name)}</text>"
        )
        x += room
    above = y + _LINE + 4
    opening, _, rest = svg.partition(">")
    opening = opening.replace(box[0], f'viewBox="0 {-above:g} {width:g} {height + above:g}"')
    return f'{opening}><g transform="translate(0 {-above:g})">{"".join(texts)}</g>{rest}'


def _item(item: Item, place: str, files: dict[str, str]) -> Iterator[str]:
    element = item.element
    if isinstance(element, Picture):
        yield from _picture(item, element, place, files)
    else:
        yield from _table(item, element)


def _picture(item: Item, element: Picture, place: str, files: dict[str, str]) -> Iterator[str]:
    name = f"{item.anchor}.svg"
    files[name] = concrete(with_legend(element.svg, element.legend))
    yield f"![{escape(element.alternative)}]({place}/{name})"
    yield ""
    yield f"**{item.label}.** {escape(element.caption)}"


def _table(item: Item, element: Table) -> Iterator[str]:
    yield f"**{item.label}.** {escape(element.title)}"
    yield ""
    yield _row(element.columns)
    yield f"|{'|'.join('---' if kind in _LEFT else '---:' for kind in text_columns(element))}|"
    headings = dict(element.groups)
    for number, row in enumerate(element.rows):
        if number in headings:
            yield _row([f"**{escape(headings[number])}**", *[""] * (len(row) - 1)], raw=True)
        cells = [escape(text) for text in row]
        yield _row([f"**{text}**" if text else "" for text in cells] if number in element.strong else cells, raw=True)
    for note in element.notes:
        yield ""
        yield f"<sub>{escape(note)}</sub>"


def _row(cells: Sequence[str], *, raw: bool = False) -> str:
    return f"| {' | '.join(cells if raw else [escape(cell) for cell in cells])} |"
