"""The report of a study: it shows what was stored and nothing else, on a page and as Markdown."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up_study
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from typer.testing import CliRunner

from emovox import manifest
from emovox.cli.main import app
from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError, ProtocolError
from emovox.evaluation.cells import TEST
from emovox.studies import copies
from emovox.studies.config import StudyConfig
from emovox.studies.reading import StudyResults, read_study
from emovox.studies.report import baselines, classical, gap, loso, networks, origin, sections
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.front import front
from emovox.studies.report.markdown import concrete, escape, write_markdown
from emovox.studies.report.page import write_html

HOSTILE = '<script>alert("x")</script> & $\\frac{a}{b}$ | *b* `c`'

STUDY = """
title = "A made-up study"
corpora = ["emodb", "ravdess", "tess", "esd", "custom"]
results = "results"

[parts.classical]
title = "Classical"
kind = "classical"
[[parts.classical.blocks]]
models = ["decision-tree", "k-neighbors", "svc"]
protocols = ["random-25", "speaker-5"]
sizes = [0.1, 1.0]
training_scores = true
[[parts.classical.blocks]]
models = ["decision-tree", "k-neighbors", "svc"]
protocols = ["corpus"]

[parts.baselines]
title = "Baselines"
kind = "baselines"
[[parts.baselines.blocks]]
models = ["speechnet"]
protocols = ["random-25", "speaker-5", "corpus"]
[[parts.baselines.blocks]]
models = ["svc-scaled"]
features = ["classic", "egemaps"]
protocols = ["random-25", "speaker-5", "corpus"]

[parts.networks]
title = "Networks"
kind = "networks"
[[parts.networks.blocks]]
models = ["cnn-1", "cnn-lstm-4"]
protocols = ["random-25", "speaker-5", "corpus"]
training_scores = true

[parts.optimizers]
title = "Optimisers"
kind = "optimizers"
[[parts.optimizers.blocks]]
models = ["two-branch"]
protocols = ["random-25"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, optimizer = "adamax" }
[[parts.optimizers.blocks]]
models = ["two-branch"]
protocols = ["speaker-5", "corpus"]
held_out = true
parameters = { early_stopping = true, reduce_lr = true, optimizer = "adamax", epochs = 10 }

[parts.loso]
title = "One speaker out"
kind = "loso"
[[parts.loso.blocks]]
models = ["decision-tree", "svc"]
protocols = ["loso"]
[[parts.loso.blocks]]
models = ["cnn-1"]
protocols = ["loso"]
parameters = { epochs = 20 }
"""
SKILL = {"decision-tree": 0.2, "k-neighbors": 0.6, "svc": 1.4, "speechnet": 2.5}


def config(text: str = STUDY) -> StudyConfig:
    return StudyConfig.model_validate(tomllib.loads(text))


def begin(study: StudyConfig, table: pd.DataFrame, out: Path) -> None:
    """Begin a study whose file says all that a real one's says."""
    made_up_study.begin(study, table, out)
    path = out / "study.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    for corpus in about["corpora"]:
        rows = table[table["corpus"] == corpus["name"]]
        corpus |= {"speakers": int(rows["speaker"].nunique()), "licence": "CC0-1.0", "synthetic": False}
    about |= {
        "manifest": manifest.fingerprint(table),
        "emotions": {label: int((table["emotion"] == label).sum()) for label in EMOTIONS},
        "dropped": {"calm": 5},
        "mapped": {},
        "unreadable": [{"name": "broken.wav", "code": "unreadable"}],
        "written": "2000-01-01T00:00:00+00:00",
    }
    path.write_text(json.dumps(about), encoding="utf-8")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study that is finished."""
    out = tmp_path_factory.mktemp("whole") / "results"
    begin(config(), made_up_study.made_up_table(), out)
    (out / copies.FILE).write_text(json.dumps({"groups": [{"rows": [0, 3, 200]}]}), encoding="utf-8")
    return made_up_study.fill(config(), out, skill=SKILL)


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study of which no network is there, some folds are missing, and some failed."""
    out = tmp_path_factory.mktemp("partial") / "results"
    begin(config(), made_up_study.made_up_table(), out)
    return made_up_study.fill(
        config(),
        out,
        skill=SKILL,
        wanted=lambda one: (
            one.cell.details["family"] != "network"
            and not (one.task.model == "k-neighbors" and one.task.key.protocol == "speaker-5" and one.task.key.fold > 2)
        ),
        failed=lambda one: one.task.model == "svc" and one.task.key.protocol == "corpus",
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study whose names would do harm on a page or in a table."""
    out = tmp_path_factory.mktemp("hostile") / "results"
    table = made_up_study.made_up_table()
    table.loc[table["corpus"] == "emodb", "corpus"] = HOSTILE
    table.loc[table["speaker"] == "ravdess-00", "speaker"] = HOSTILE
    text = STUDY.replace("A made-up study", "T").replace('"esd"', '"e<b>|"')
    read = config(text).model_copy(update={"title": HOSTILE})
    begin(read, table, out)
    return made_up_study.fill(read, out, skill=SKILL)


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


@pytest.fixture(scope="module")
def built(study: StudyResults) -> list[Section]:
    return sections.sections(study, source="studies/made-up.toml")


def page_of(study: StudyResults, path: Path, found: Sequence[Section] | None = None) -> tuple[str, Page]:
    write_html(study, path, found=found)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    page.close()
    return text, page


def by_name(table: Table) -> dict[str, Sequence[str]]:
    """Rows by their first column; of equal names the first."""
    found: dict[str, Sequence[str]] = {}
    for row in table.rows:
        found.setdefault(row[0], row)
    return found


def column(table: Table, name: str, head: str) -> str:
    return by_name(table)[name][list(table.columns).index(head)]


def tables(section: Section) -> list[Table]:
    folded = [element for _, some in section.folded for element in some]
    return [element for element in [*section.content, *folded] if isinstance(element, Table)]


def pictures(section: Section) -> list[Picture]:
    return [element for element in section.content if isinstance(element, Picture)]


def stored(study: StudyResults, title: str, protocol: str) -> tuple[Any, Any, Any]:
    """Truth, prediction and speaker of every test clip, put together by plain loops over the stored cells."""
    truth, predicted, speakers = [], [], []
    known = {one.task.key: one for plan in study.plans for one in plan.cells}
    for key in known:
        if key.model == title and key.protocol == protocol:
            views = study.store.views(key)
            assert views is not None
            for row, probabilities in zip(views[TEST].rows, views[TEST].probabilities, strict=True):
                truth.append(study.known["emotion"].iloc[row])
                speakers.append(study.known["speaker"].iloc[row])
                predicted.append(EMOTIONS[int(np.argmax(probabilities))])
    return np.array(truth), np.array(predicted), np.array(speakers)


def share(value: float) -> str:
    return f"{100 * value:.1f}"


MODELS = {
    "decision-tree": "decision-tree",
    "svc": "svc",
    "svc-scaled": "svc-scaled(features=classic)",
    "speechnet": "speechnet",
    "cnn-lstm-4": "cnn-lstm-4",
    "two-branch (adamax)": "two-branch(early_stopping=True,optimizer=adamax,reduce_lr=True,held_out=True)",
}


def title_of(name: str, protocol: str) -> str:
    """Give the title under which a model of the first table is stored."""
    title = MODELS.get(name, name)
    return title if protocol == "random-25" else title.replace("=True,optimizer", "=True,epochs=10,optimizer")


@pytest.mark.parametrize(
    ("protocol", "head"),
    [("random-25", "random split %"), ("speaker-5", "unseen speakers %"), ("corpus", "unseen corpora %")],
)
def test_the_gap_is_what_scikit_learn_says_of_the_stored_predictions(
    study: StudyResults, protocol: str, head: str
) -> None:
    table = tables(gap.section(study))[0]
    for name in MODELS:
        truth, predicted, _ = stored(study, title_of(name, protocol), protocol)
        assert column(table, name, head).split()[0] == share(balanced_accuracy_score(truth, predicted)), name


def test_the_classical_table_is_ours_beside_the_published_one(study: StudyResults) -> None:
    table = tables(classical.section(study))[0]
    truth, predicted, _ = stored(study, "svc", "random-25")
    row = by_name(table)["svc"]
    assert row[-2:] == [f"{100 * accuracy_score(truth, predicted):.2f}", "62.87"]
    assert row[-4:-2] == [f"{f1_score(truth, predicted, average='weighted'):.2f}", "0.62"]
    assert row[2:7] == ["401.04", "0.97", "0.62", "98.00", "63.19"]
    assert column(table, "svc", "test s") == "0.10"
    other = tables(classical.section(study))[1]
    truth, predicted, _ = stored(study, "svc", "speaker-5")
    index = list(other.columns).index("speakers: UAR %")
    figures = [f"{share(accuracy_score(truth, predicted))}", f"{f1_score(truth, predicted, average='weighted'):.3f}"]
    assert by_name(other)["svc"][index + 1 : index + 3] == figures


def test_sizes_are_figures_of_models_fitted_at_that_size(study: StudyResults) -> None:
    section = classical.section(study)
    assert len(pictures(section)) == 2
    assert ">10 % of the training data<" in pictures(section)[0].svg
    assert "published" in pictures(section)[0].svg
    assert "published" not in pictures(section)[1].svg
    table = tables(section)[2]
    truth, predicted, _ = stored(study, "svc(size=0.1)", "speaker-5")
    (start,) = [place for place, title in table.groups if title == "Unseen speakers"]
    row = next(row for row in table.rows[start:] if row[:2] == ["svc", "10 %"])
    assert row[5] == share(accuracy_score(truth, predicted))
    assert row[7].split()[0] == share(balanced_accuracy_score(truth, predicted))


def test_networks_stand_beside_what_was_published(study: StudyResults) -> None:
    table = tables(networks.section(study))[0]
    row = by_name(table)["cnn-lstm-4"]
    assert [row[2], row[3], row[4]] == ["510,983", "511,112", "511,112"]
    truth, predicted, _ = stored(study, "cnn-lstm-4", "random-25")
    assert row[-2:] == [f"{100 * accuracy_score(truth, predicted):.2f}", "92.21"]


def test_baselines_by_what_they_see(study: StudyResults) -> None:
    (table,) = tables(baselines.section(study))
    assert [title for _, title in table.groups] == [
        "On the study's 180 features",
        "On eGeMAPS (88, openSMILE)",
        "On the waveform",
        "What training and test share",
    ]
    for place, features in ((0, "classic"), (1, "egemaps")):
        truth, predicted, _ = stored(study, f"svc-scaled(features={features})", "corpus")
        assert table.rows[place][7].split()[0] == share(balanced_accuracy_score(truth, predicted))


def test_one_speaker_out_tells_every_speaker(study: StudyResults) -> None:
    section = loso.section(study)
    (table,) = tables(section)
    truth, predicted, speakers = stored(study, "svc", "loso")
    own = [
        np.mean(
            [
                np.mean(predicted[(speakers == name) & (truth == label)] == label)
                for label in set(truth[speakers == name])
            ]
        )
        for name in sorted(set(speakers))
    ]
    assert len(own) == sum(made_up_study.SPEAKERS.values())
    row = by_name(table)["svc"]
    assert row[4:7] == [share(min(own)), share(float(np.median(own))), share(max(own))]
    beside = balanced_accuracy_score(*stored(study, "svc", "speaker-5")[:2])
    assert row[7].split()[0] == share(beside)
    assert "cnn-1, 20 epochs: 20 epochs with one speaker out, 100 with folds of several speakers." in table.notes


def test_the_leak_table_counts_what_both_sides_share(study: StudyResults) -> None:
    table = gap.leak_table(study)
    for key in ("random-25", "speaker-5", "corpus", "loso"):
        folds = study.folds(key)
        group, known, copied = {0, 3, 200}, 0, 0
        for fold in folds:
            heard = set(study.table["speaker"].iloc[fold.train])
            known += sum(study.table["speaker"].iloc[row] in heard for row in fold.test)
            copied += len(group & {*fold.test.tolist()}) if group & {*fold.train.tolist()} else 0
        clips = sum(len(fold.test) for fold in folds)
        assert column(table, key, "speaker known") == f"{share(known / clips)} % ({known:,})"
        assert column(table, key, "copies") == str(copied)
    assert column(table, "corpus", "copies") == "3"
    for shown in (
        tables(gap.section(study))[0],
        tables(classical.section(study))[1],
        tables(networks.section(study))[1],
        tables(baselines.section(study))[0],
    ):
        row = by_name(shown)["copies of training clips"]
        assert [text for text in row[1:] if text] == [
            column(table, key, "copies") for key in ("random-25", "speaker-5", "corpus")
        ]
        row = by_name(shown)["speaker heard in training"]
        assert [text for text in row[1:] if text] == ["100.0 %", "0.0 %", "0.0 %"]
    assert column(table, "random-25", "sentence known").endswith("unknown")


def test_copies_that_nobody_looked_for_are_not_called_none(partial: StudyResults) -> None:
    table = gap.leak_table(partial)
    assert {row[-1] for row in table.rows} == {"not counted"}
    assert any("nobody has looked" in note for note in table.notes)


def test_the_front_states_the_gap_and_what_is_missing(study: StudyResults, partial: StudyResults) -> None:
    head = front(study)
    for protocol in ("random-25", "speaker-5", "corpus"):
        reached = [
            balanced_accuracy_score(*stored(study, title, protocol)[:2])
            for name in ("decision-tree", "k-neighbors", "svc", "cnn-1", "cnn-lstm-4", "two-branch (adamax)")
            for title in [title_of(name, protocol)]
        ]
        assert f"{share(float(np.median(reached)))} %" in head.finding
    assert "6 models of the study" in head.finding
    assert "guessing gives 14.3 %" in head.finding
    assert head.warnings == [note for note in head.warnings if "ESD and CUSTOM are absent" in note]
    (absent, left) = front(partial).warnings
    assert "ESD and CUSTOM" in absent
    done, planned = re.search(r"Not finished yet: (\d+) of (\d+) cells, of which 3 failed", left).groups()  # type: ignore[union-attr]
    assert int(planned) == len({one.task.key for plan in partial.plans for one in plan.cells})
    assert 0 < int(done) < int(planned)


def test_the_page_is_whole_and_needs_nothing_else(study: StudyResults, built: list[Section], tmp_path: Path) -> None:
    text, page = page_of(study, tmp_path / "report.html", built)
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
    assert manifest.fingerprint(study.table) in page.words


def test_the_page_shows_every_table_as_it_was_built(study: StudyResults, built: list[Section], tmp_path: Path) -> None:
    _, page = page_of(study, tmp_path / "report.html", built)
    all_tables = [table for section in built for table in tables(section)]
    assert len(all_tables) == len(page.tables)
    for table, rows in zip(all_tables, page.tables, strict=True):
        body = [row for row in rows if len(row) == len(table.columns)][any(table.columns) :]
        assert [[" ".join(text.split()) for text in row] for row in body] == [
            [" ".join(text.split()) for text in row] for row in table.rows
        ]


def test_partial_data_is_called_partial(partial: StudyResults, tmp_path: Path) -> None:
    _, page = page_of(partial, tmp_path / "report.html")
    assert page.open == []
    table = tables(gap.section(partial))[0]
    assert column(table, "k-neighbors", "unseen speakers %").endswith("(3 of 5 folds)")
    assert column(table, "svc", "unseen corpora %") == "failed"
    assert column(table, "cnn-1", "random split %") == "not yet"
    figures = pictures(gap.section(partial))[0].svg
    assert ">svc<" in figures
    assert ">cnn-1<" not in figures
    assert "the training diverged" in page.words
    assert "No result yet." in networks.section(partial).finding
    assert not networks.section(partial).content


def test_nothing_computed_makes_a_page_without_figures(tmp_path: Path) -> None:
    begin(config(), made_up_study.made_up_table(), tmp_path / "results")
    found = read_study(config(), tmp_path / "results")
    _, page = page_of(found, tmp_path / "report.html")
    assert "svg" not in page.tags
    assert "the gap is not known yet" in page.words
    with pytest.raises(ProtocolError, match="holds no study"):
        read_study(config(), tmp_path / "none")


def test_names_are_text_wherever_they_stand(hostile: StudyResults, tmp_path: Path) -> None:
    found = sections.sections(hostile)
    text, page = page_of(hostile, tmp_path / "report.html", found)
    assert page.open == []
    assert "script" not in page.tags
    assert "<script" not in text
    assert " ".join(HOSTILE.split()) in page.words
    write_markdown(hostile, tmp_path / "report.md", pictures=tmp_path / "pictures", found=found)
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
    study: StudyResults, built: list[Section], tmp_path: Path
) -> None:
    folder = tmp_path / "made" / "pictures"
    folder.mkdir(parents=True)
    (folder / "figure-99.svg").write_text("old")
    write_markdown(study, tmp_path / "made.md", pictures=folder, found=built)
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


def test_the_command_writes_both_and_always_the_same(
    study: StudyResults, built: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made.toml").write_text(STUDY.replace('"results"', json.dumps(str(study.store.folder))), encoding="utf-8")
    answer = CliRunner().invoke(
        app, ["study", "report", "made.toml", "-o", "out/page.html", "--markdown", "out/made.md"]
    )
    assert answer.exit_code == 0, answer.output
    text = Path("out/page.html").read_text(encoding="utf-8")
    assert (
        text.replace("report made.toml", "report studies/made-up.toml").replace(
            "run made.toml", "run studies/made-up.toml"
        )
        == page_of(study, tmp_path / "again.html", built)[0]
    )
    assert list(Path("out/made/pictures").glob("figure-1.svg"))
    failed = CliRunner().invoke(app, ["study", "report", "made.toml", "--results", "nothing"])
    assert isinstance(failed.exception, ProtocolError)


def test_a_study_named_by_its_whole_path_does_not_tell_it(
    study: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "BUILDERS", {})
    (tmp_path / "made.toml").write_text(STUDY, encoding="utf-8")
    options = ["--results", str(study.store.folder), "-o", str(tmp_path / "page.html")]
    assert CliRunner().invoke(app, ["study", "report", str(tmp_path / "made.toml"), *options]).exit_code == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "emovox study report made.toml" in text
    assert str(tmp_path) not in text


def test_several_revisions_and_machines_are_counted(study: StudyResults) -> None:
    rows = by_name(tables(origin.section(study))[1])
    assert "[" not in rows["software"][1]
    assert rows["seed"][1] == "7"
    assert rows["manifest"][1].startswith(manifest.fingerprint(study.table))


def test_copies_are_looked_for_once_and_stay_valid_when_rows_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made_up_study.made_up_table()
    calls: list[int] = []

    def audited(rows: pd.DataFrame, **_: Any) -> Any:
        calls.append(len(rows))
        groups = [SimpleNamespace(rows=(1, 4), kind="near")]
        return SimpleNamespace(clips=len(rows), groups=groups, failures=[], too_short=[])

    monkeypatch.setattr(copies, "audit", audited)
    numbers = np.arange(len(table)) + 10
    for _ in range(2):
        copies.keep_copies(tmp_path, table, numbers)
    assert calls == [len(table)]
    assert copies.read_copies(tmp_path, numbers) == ((1, 4),)
    assert copies.read_copies(tmp_path, numbers[2:]) == ()  # of the two only one is left
    copies.keep_copies(tmp_path, table.iloc[1:], numbers[1:])
    assert calls == [len(table), len(table) - 1]
    (tmp_path / copies.FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ProtocolError, match="cannot be read"):
        copies.read_copies(tmp_path, numbers)
    assert copies.read_copies(tmp_path / "nowhere", numbers) is None
