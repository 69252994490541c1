"""The report of a study: it shows what was stored and nothing else, on a page and as Markdown."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import made_up_study
import numpy as np
import pytest
import reported_study
from reported_study import pictures, row_of, share, stored, tables, title_of, written
from sklearn.metrics import balanced_accuracy_score
from typer.testing import CliRunner

from emovox import manifest
from emovox.cli.main import app
from emovox.errors import ParameterError, ProtocolError
from emovox.studies.config import StudyConfig
from emovox.studies.reading import StudyResults, read_study
from emovox.studies.report import sections
from emovox.studies.report.elements import Picture, Section
from emovox.studies.report.front import front
from emovox.studies.report.markdown import concrete, escape, write_markdown
from emovox.studies.report.page import write_html

HOSTILE = '<script>alert("x")</script> & $\\frac{a}{b}$ | *b* `c`'


def hostile(out: Path) -> StudyResults:
    """A study whose names would do harm on a page or in a table."""
    table = made_up_study.made_up_table()
    table.loc[table["corpus"] == "emodb", "corpus"] = HOSTILE
    table.loc[table["speaker"] == "ravdess-00", "speaker"] = HOSTILE
    text = written("networks", "loso").replace('"esd"', '"e<b>|"')
    read = StudyConfig.model_validate(tomllib.loads(text)).model_copy(update={"title": HOSTILE})
    made_up_study.begin(read, table, out)
    return made_up_study.fill(read, out)


@dataclass
class Page(HTMLParser):
    """A page's tags, texts and tables; every element must be closed by its own end tag."""

    html: str
    tags: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "tr" in self.open and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data

    @property
    def words(self) -> str:
        """The text with plain spaces."""
        return " ".join(self.text.split())


def page_of(
    study: StudyResults, path: Path, found: Iterable[Section] | None = None, *, source: str = "STUDY.toml"
) -> tuple[str, Page]:
    write_html(study, path, found=None if found is None else list(found), source=source)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    page.close()
    return text, page


def test_the_front_states_the_gap_and_what_is_missing(whole_study: StudyResults, partial_study: StudyResults) -> None:
    head = front(whole_study)
    for protocol in ("random-25", "speaker-5", "corpus"):
        reached = [
            balanced_accuracy_score(*stored(whole_study, title, protocol)[:2])
            for name in ("decision-tree", "random-forest", "svc", "cnn-1", "cnn-lstm-4", "two-branch (adamax)")
            for title in [title_of(name, protocol)]
        ]
        assert f"{share(float(np.median(reached)))} %" in head.finding
    assert "the median UAR of the study's 6 models" in head.finding
    assert "guessing gives 14.3 %" in head.finding
    remark, *notes = head.warnings
    assert remark == "Recorded in a lift."
    assert notes == [note for note in notes if "ESD and CUSTOM are absent" in note]
    _, absent, left = front(partial_study).warnings
    assert "ESD and CUSTOM" in absent
    done, planned = re.search(r"Not finished yet: (\d+) of (\d+) cells, of which 5 failed", left).groups()  # type: ignore[union-attr]
    assert int(planned) == len({one.task.key for plan in partial_study.plans for one in plan.cells})
    assert 0 < int(done) < int(planned)


def test_the_page_is_whole_and_needs_nothing_else(
    whole_study: StudyResults, whole_report: Mapping[str, Section], tmp_path: Path
) -> None:
    text, page = page_of(whole_study, tmp_path / "report.html", whole_report.values())
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[0] for link in page.links} == {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(page.ids)
    assert not re.search(r"url\((?!#)|@import", text)
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text
    assert "/made-up" not in text.replace("studies/made-up.toml", "")
    for number in range(1, 8):
        assert f"Table {number}." in page.words
    for told in ("emovox study run studies/made-up.toml", "broken.wav (unreadable)", "calm 5", np.__version__):
        assert told in page.words
    assert manifest.fingerprint(whole_study.table) in page.words


def test_the_page_shows_every_table_as_it_was_built(
    whole_study: StudyResults, whole_report: Mapping[str, Section], tmp_path: Path
) -> None:
    _, page = page_of(whole_study, tmp_path / "report.html", whole_report.values())
    all_tables = [table for section in whole_report.values() for table in tables(section)]
    assert len(all_tables) == len(page.tables)
    for table, rows in zip(all_tables, page.tables, strict=True):
        body = [row for row in rows if len(row) == len(table.columns)][any(table.columns) :]
        assert [[" ".join(text.split()) for text in row] for row in body] == [
            [" ".join(text.split()) for text in row] for row in table.rows
        ]


def test_partial_data_is_called_partial(
    partial_study: StudyResults, partial_report: Mapping[str, Section], tmp_path: Path
) -> None:
    _, page = page_of(partial_study, tmp_path / "report.html", partial_report.values())
    assert page.open == []
    table = tables(partial_report["gap"])[0]
    assert row_of(table, "random-forest")["unseen speakers %"].endswith("(2 of 5 folds)")
    assert row_of(table, "svc")["unseen corpora %"] == "failed"
    assert row_of(table, "cnn-1")["random split %"] == "not yet"
    figures = pictures(partial_report["gap"])[0].svg
    assert ">svc<" in figures
    assert ">cnn-1<" not in figures
    assert "the training diverged" in page.words
    assert "No result yet." in partial_report["networks"].finding
    assert not partial_report["networks"].content


def test_nothing_computed_makes_a_page_without_figures(tmp_path: Path) -> None:
    study = reported_study.nothing(tmp_path)
    found = sections.sections(study)
    of_results = found[1:-2]
    assert len(of_results) == len(sections.BUILDERS) + 2
    for section in of_results:
        assert section.content == ()
        assert section.finding.startswith("No result yet. Not computed yet: ")
    _, page = page_of(study, tmp_path / "report.html", found)
    assert "svg" not in page.tags
    assert "the gap is not known yet" in page.words
    with pytest.raises(ProtocolError, match="holds no study"):
        read_study(reported_study.config(), tmp_path / "none")


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    study = hostile(tmp_path)
    found = sections.sections(study)
    text, page = page_of(study, tmp_path / "report.html", found)
    assert page.open == []
    assert "script" not in page.tags
    assert "<script" not in text
    assert " ".join(HOSTILE.split()) in page.words
    write_markdown(study, tmp_path / "report.md", pictures=tmp_path / "pictures", found=found)
    lines = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in lines
    assert well_formed(lines)
    for picture in (tmp_path / "pictures").iterdir():
        assert "<script" not in picture.read_text(encoding="utf-8")


def well_formed(text: str) -> bool:
    """Whether all rows of each table have as many cells as its head; a pipe in a text is escaped."""
    width, found = 0, 0
    for line in text.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        assert line.endswith("|")
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        width = width or cells
        assert cells == width, line
        found += 1
    return found > 0


def test_markdown_has_the_same_tables_and_pictures_for_both_themes(
    whole_study: StudyResults, whole_report: Mapping[str, Section], tmp_path: Path
) -> None:
    built = list(whole_report.values())
    folder = tmp_path / "made" / "pictures"
    folder.mkdir(parents=True)
    (folder / "figure-99.svg").write_text("old")
    write_markdown(whole_study, tmp_path / "made.md", pictures=folder, found=built)
    text = (tmp_path / "made.md").read_text(encoding="utf-8")
    assert well_formed(text)
    assert str(tmp_path) not in text
    for table in (table for section in built for table in tables(section)):
        for number, row in enumerate(table.rows):
            stressed = number in table.strong
            assert (
                "| " + " | ".join(f"**{escape(one)}**" if stressed and one else escape(one) for one in row) + " |"
                in text
            )
    links = re.findall(r"\]\(([^)]+\.svg)\)", text)
    assert sorted(links) == sorted(f"made/pictures/{path.name}" for path in folder.iterdir())
    assert len(links) == sum(1 for section in built for one in section.content if isinstance(one, Picture))
    for link in links:
        svg = (tmp_path / link).read_text(encoding="utf-8")
        assert "var(" not in svg
        assert Page(svg.replace("<?xml", "<!--").strip()).open == []
    with pytest.raises(ParameterError, match="sparkle"):
        concrete('<svg viewBox="0 0 1 1" fill="var(--sparkle)"/>')


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A finished study of one part, for what does not depend on the parts."""
    return reported_study.whole(tmp_path_factory.mktemp("small") / "results", "networks")


def test_the_command_writes_both_and_always_the_same(
    small: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written("networks").replace('"results"', json.dumps(str(small.store.folder)))
    Path("made.toml").write_text(file, encoding="utf-8")
    answer = CliRunner().invoke(
        app, ["study", "report", "made.toml", "-o", "out/page.html", "--markdown", "out/made.md"]
    )
    assert answer.exit_code == 0, answer.output
    text = Path("out/page.html").read_text(encoding="utf-8")
    assert text == page_of(small, tmp_path / "again.html", source="made.toml")[0]
    assert list(Path("out/made/pictures").glob("figure-1.svg"))
    failed = CliRunner().invoke(app, ["study", "report", "made.toml", "--results", "nothing"])
    assert isinstance(failed.exception, ProtocolError)


def test_a_study_named_by_its_whole_path_does_not_tell_it(
    small: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "BUILDERS", {})
    (tmp_path / "made.toml").write_text(written("networks"), encoding="utf-8")
    options = ["--results", str(small.store.folder), "-o", str(tmp_path / "page.html")]
    assert CliRunner().invoke(app, ["study", "report", str(tmp_path / "made.toml"), *options]).exit_code == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "emovox study report made.toml" in text
    assert str(tmp_path) not in text
