"""Find out which corpora lie in a folder, and make the manifest of what is there."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emovox import audio
from emovox.corpora import folders, tables
from emovox.corpora.base import Corpus, FileNameError, Utterance
from emovox.corpora.registry import CORPORA
from emovox.corpora.tree import Tree, list_files
from emovox.errors import AudioError, CorpusError

if TYPE_CHECKING:
    import pandas as pd

NAME, AUDIO, COPY, FOLDER = "name", "audio", "copy", "folder"
"""Kinds of problems: a name that says nothing or nonsense, sound that cannot be read, a further copy of an utterance
that is in the manifest already, a folder that may not be searched."""

_LOSSLESS = frozenset({".wav", ".wave", ".flac", ".aif", ".aiff", ".w64", ".rf64", ".caf"})
Progress = Callable[[int, int], None]
"""Called with the number of recordings measured and of all."""


@dataclass(frozen=True)
class Problem:
    """Why a file is not in the manifest: its path, the kind of problem, and a sentence."""

    kind: str
    path: str
    message: str


@dataclass(frozen=True)
class ScanResult:
    """What a folder or a table holds.

    Attributes:
        source: what was scanned.
        table: its manifest, with all emotions, also those outside the seven.
        problems: what is not in the manifest, and why.
        other_files: how many files are no recordings, by ending.
        leftovers: hidden files and macOS' resource forks that were passed over.
        seen_twice: links to folders that were already searched.
    """

    source: Path
    table: pd.DataFrame
    problems: tuple[Problem, ...] = ()
    other_files: Mapping[str, int] = field(default_factory=dict)
    leftovers: int = 0
    seen_twice: tuple[Path, ...] = ()

    @property
    def failures(self) -> tuple[Problem, ...]:
        """The problems that somebody should look at: all but copies."""
        return tuple(problem for problem in self.problems if problem.kind != COPY)


@dataclass(frozen=True)
class Found:
    """A corpus in a folder, and how many recordings are named as in it."""

    corpus: Corpus
    clips: int


@dataclass
class _Listing:
    """Rows and problems as they are gathered; `copies` gives the further copies of the recording that a row names."""

    rows: list[dict[str, object]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    copies: dict[str, list[Path]] = field(default_factory=dict)

    def problem(self, kind: str, path: object, message: str) -> None:
        self.problems.append(Problem(kind, str(path), message))


def recognise(folder: str | os.PathLike[str]) -> list[Found]:
    """Say which corpora lie in a folder, by the names of the recordings; the largest first.

    Raises:
        CorpusError: if there is no such folder.
    """
    counts: dict[str, int] = {}
    for path in list_files(Path(folder)).audio:
        named = _named(path)
        if isinstance(named, tuple):
            counts[named[0].name] = counts.get(named[0].name, 0) + 1
    found = [Found(CORPORA[name], clips) for name, clips in counts.items()]
    return sorted(found, key=lambda item: -item.clips)


def scan(
    source: str | os.PathLike[str],
    *,
    durations: bool = True,
    keep_copies: bool = False,
    progress: Progress | None = None,
) -> ScanResult:
    """Make the manifest of a folder with one corpus or several, or of a table of recordings.

    Recordings named as in a corpus of `CORPORA` are read as such, wherever they lie. What remains is looked up in the
    folder's audformat database (``db.yaml``), if it has one, and otherwise read as a folder per emotion.

    Args:
        source: a folder, a CSV or Parquet file (see `emovox.corpora.tables.read_table`), or a ``db.yaml``.
        durations: open every recording and note its length; False trusts names and is much faster.
        keep_copies: list an utterance as often as it is there; otherwise once: a lossless file rather than another,
            then the least deeply nested, then the first by name; the next one if that cannot be read.
        progress: called while recordings are opened.

    Returns:
        The manifest with absolute paths, and everything that is not in it.

    Raises:
        CorpusError: if there is no such folder, it holds no recordings, or nothing in it can be recognised.
        ManifestError: if the table is faulty.
    """
    path = Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would replace links
    tree = Tree()
    listing = _Listing()
    if path.is_file():
        table = _read_file(path)
    else:
        tree = list_files(path)
        listing, table = _read_folder(path, tree, keep_copies=keep_copies)
    if durations:
        table = _measure(table, listing, progress)
    for kept, copies in listing.copies.items():
        for copy in copies:
            listing.problem(COPY, copy, f"is a further copy of {kept}")
    return ScanResult(
        source=Path(source),
        table=table,
        problems=tuple(listing.problems),
        other_files=dict(sorted(tree.other.items())),
        leftovers=tree.leftovers,
        seen_twice=tuple(tree.seen_twice),
    )


def _read_file(path: Path) -> pd.DataFrame:
    if path.name == tables.AUDFORMAT_HEADER:
        return tables.read_audformat(path.parent)
    if path.suffix.lower() not in tables.TABLE_SUFFIXES:
        raise CorpusError(
            "is neither a folder nor a table of recordings",
            code="not_a_folder",
            path=path,
            remedy="Give a folder, a .csv, .tsv or .parquet file, or the db.yaml of an audformat database.",
        )
    return tables.read_table(path)


def _read_folder(root: Path, tree: Tree, *, keep_copies: bool) -> tuple[_Listing, pd.DataFrame]:
    import pandas as pd

    from emovox import manifest

    listing = _Listing()
    for closed in tree.closed:
        listing.problem(FOLDER, closed, "may not be read")
    if not tree.audio:
        others = sum(tree.other.values())
        raise CorpusError(
            f"holds no recordings ({f'{others} other files' if others else 'it is empty'})",
            code="empty",
            path=root,
            remedy="Unpack the corpus there, or give the folder that holds it.",
        )
    rest, faults = _read_names(tree.audio, listing, keep_copies=keep_copies)
    parts = [manifest.build(listing.rows)]
    if rest and (root / tables.AUDFORMAT_HEADER).is_file():
        declared = tables.read_audformat(root)
        # Recordings that the database names and that are not there stay in: opening them reports them.
        parts.append(declared[~declared["path"].isin({str(path) for path in set(tree.audio) - set(rest)})])
        rest = [path for path in rest if str(path) not in set(declared["path"])]
    own, unknown = folders.rows(root, rest, speakers=not listing.rows, known=CORPORA)
    parts.append(manifest.build(own))
    table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    if not len(table) and len(unknown) == len(tree.audio):
        raise _unrecognised(root, tree.audio)
    for path in unknown:
        listing.problem(NAME, path, faults.get(path, "is named as in no corpus and lies in no folder of an emotion"))
    return listing, manifest.validate(table)


def _unrecognised(root: Path, audio_files: list[Path]) -> CorpusError:
    examples = ", ".join(str(path.relative_to(root)) for path in audio_files[:3])
    beside = next((path for path in sorted(root.iterdir()) if path.suffix.lower() in tables.TABLE_SUFFIXES), None)
    return CorpusError(
        f"holds {len(audio_files)} recordings, but none is named as in a known corpus (such as {examples})",
        code="unrecognised",
        path=root,
        remedy=(f"If {beside.name} describes them, scan that file. Or put" if beside else "Put")
        + " them into one folder per emotion, or scan a CSV file with the columns path and emotion. "
        "`emovox corpora list` shows the names of known corpora.",
    )


@dataclass(frozen=True)
class _Fault:
    """A name built like those of a corpus that says something impossible."""

    corpus: Corpus
    message: str


def _named(path: Path) -> tuple[Corpus, Utterance] | _Fault | None:
    """Find the corpus that a name belongs to; a fault counts only if no corpus reads it."""
    fault: _Fault | None = None
    for corpus in CORPORA.values():
        try:
            utterance = corpus.utterance(path)
        except FileNameError as error:
            fault = fault or _Fault(corpus, error.message)
            continue
        if utterance is not None:
            return corpus, utterance
    return fault


def _read_names(
    paths: Iterable[Path], listing: _Listing, *, keep_copies: bool
) -> tuple[list[Path], Mapping[Path, str]]:
    """Add a row for every recording whose name a corpus knows; give back the others, and what is wrong with them.

    A faulty name is the fault of a corpus only where that corpus is: otherwise it looks like one by chance.
    """
    rest: list[Path] = []
    faults: dict[Path, _Fault] = {}
    same: dict[tuple[str, str], list[Path]] = {}
    rows: dict[Path, dict[str, object]] = {}
    for path in paths:
        named = _named(path)
        if isinstance(named, _Fault):
            faults[path] = named
        elif named is None:
            rest.append(path)
        else:
            corpus, utterance = named
            rows[path] = corpus.row(path, utterance)
            same.setdefault((corpus.name, utterance.key), []).append(path)
    if not keep_copies:
        for kept, *copies in (sorted(files, key=_preference) for files in same.values() if len(files) > 1):
            listing.copies[str(kept)] = copies
            for copy in copies:
                del rows[copy]
    listing.rows.extend(rows.values())
    present = {corpus for corpus, _ in same}
    for path, fault in faults.items():
        if fault.corpus.name in present:
            listing.problem(NAME, path, fault.message)
        else:
            rest.append(path)
    return sorted(rest), {path: fault.message for path, fault in faults.items()}


def _preference(path: Path) -> tuple[bool, int, str]:
    return path.suffix.lower() not in _LOSSLESS, len(path.parts), str(path)


def _measure(table: pd.DataFrame, listing: _Listing, progress: Progress | None) -> pd.DataFrame:
    """Fill in durations; rows whose recording cannot be opened go to the problems."""
    lengths: dict[str, tuple[str, float] | None] = {}
    paths: list[str] = []
    seconds: list[float] = []
    for done, (name, start, end) in enumerate(zip(table["path"], table["start"], table["end"], strict=True), start=1):
        if name not in lengths:
            lengths[name] = _first_readable(name, listing)
        path, length = lengths[name] or (name, math.nan)
        begin = 0.0 if math.isnan(start) else start
        stop = length if math.isnan(end) or math.isnan(length) else min(end, length)
        if stop <= begin:
            listing.problem(AUDIO, path, f"ends at {length:.2f} s, before the part from {begin:g} s begins")
        paths.append(path)
        seconds.append(stop - begin if stop > begin else math.nan)
        if progress is not None:
            progress(done, len(table))
    measured = table.assign(path=paths, duration=seconds)
    return measured[measured["duration"].notna()].reset_index(drop=True)


def _first_readable(path: str, listing: _Listing) -> tuple[str, float] | None:
    """Give a recording and its length in seconds, or those of its first copy that can be read."""
    candidate = path
    while True:
        try:
            return candidate, _length(candidate)
        except AudioError as error:
            listing.problem(AUDIO, candidate, error.message)
        copies = listing.copies.pop(candidate, [])
        if not copies:
            return None
        candidate = str(copies[0])
        listing.copies[candidate] = copies[1:]


def _length(path: str) -> float:
    least = audio.DEFAULT_LIMITS.min_duration_s
    length = audio.duration_s(path)
    if length < least:
        raise AudioError(f"is {length:.3f} s long; at least {least:g} s are needed", code="too_short", path=path)
    return length
