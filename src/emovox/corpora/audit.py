"""What spoils an evaluation: recordings that occur twice, contradictory labels, and splits that leak.

`audit` gathers it all; `check_split` looks at one division into training and test rows. Neither changes anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from emovox.corpora.duplicates import Pair, find_duplicates
from emovox.corpora.prints import Failure, fingerprints
from emovox.errors import ParameterError

Rows: TypeAlias = npt.NDArray[np.int64]
Indices: TypeAlias = npt.NDArray[np.intp] | Sequence[int]
Progress = Callable[[str, int, int], None]
"""Called with the stage (``reading`` or ``comparing``), what is done and what there is."""


@dataclass(frozen=True)
class Group:
    """Rows that hold the same recording.

    Attributes:
        rows: positions in the manifest, from 0; two or more.
        paths: their files.
        kind: ``identical`` if all decode to the same samples, otherwise ``near``.
        emotions, speakers: the different ones that the rows name, sorted.
        bit_error: largest share of differing fingerprint bits between two members that were compared.
    """

    rows: tuple[int, ...]
    paths: tuple[str, ...]
    kind: str
    emotions: tuple[str, ...]
    speakers: tuple[str, ...]
    bit_error: float

    @property
    def label_conflict(self) -> bool:
        """Whether one recording has two emotions."""
        return len(self.emotions) > 1

    @property
    def speaker_conflict(self) -> bool:
        """Whether one recording has two speakers: a speaker-independent split may then put it on both sides."""
        return len(self.speakers) > 1


@dataclass(frozen=True)
class SplitAudit:
    """What training and test part have in common.

    Attributes:
        name: of the protocol, such as ``speaker``.
        fold: number of the fold, from 1.
        train, test: number of rows.
        speakers: speakers with rows on both sides.
        sentences: ``corpus/sentence`` with rows on both sides. Common in acted corpora, where all say the same texts.
        groups: indices into `AuditReport.groups` of recordings with rows on both sides.
        leaked: test rows whose recording is also a training row, under whatever name.
        unknown_speakers: rows without a speaker; for these nothing can be said.
    """

    name: str
    fold: int
    train: int
    test: int
    speakers: tuple[str, ...]
    sentences: tuple[str, ...]
    groups: tuple[int, ...]
    leaked: int
    unknown_speakers: int


@dataclass(frozen=True)
class Finding:
    """One line of the summary.

    Attributes:
        code: a stable word, such as ``label_conflict``.
        severity: ``fault`` (spoils figures) or ``note`` (worth knowing).
        count: how many.
        message: the sentence for people.
    """

    code: str
    severity: str
    count: int
    message: str


@dataclass(frozen=True)
class AuditReport:
    """What `audit` found.

    Attributes:
        clips: rows of the manifest.
        groups: recordings that occur more than once.
        pairs: the evidence for `groups`.
        splits: one for each fold of each protocol that was asked for.
        failures: rows that could not be read, and why.
        too_short: rows with too little sound for the search of near-duplicates.
        candidates: pairs that were compared in detail, out of clips * (clips - 1) / 2.
    """

    clips: int
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    splits: tuple[SplitAudit, ...]
    failures: tuple[Failure, ...]
    too_short: tuple[int, ...]
    candidates: int

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The summary: what was found, faults first."""
        lines = _group_findings(self.groups)
        for name in dict.fromkeys(split.name for split in self.splits):
            lines += _split_findings(name, [split for split in self.splits if split.name == name])
        if self.failures:
            lines.append(
                _note("unreadable", len(self.failures), "recording(s) cannot be read and are not part of this audit")
            )
        if self.too_short:
            message = "recording(s) hold less than half a second of sound; only exact copies of them are found"
            lines.append(_note("too_short", len(self.too_short), message))
        return tuple(sorted((line for line in lines if line.count), key=lambda line: line.severity != "fault"))

    @property
    def clean(self) -> bool:
        """Whether nothing was found that spoils an evaluation."""
        return not any(line.severity == "fault" for line in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "clips": self.clips,
            "clean": self.clean,
            "findings": [asdict(line) for line in self.findings],
            "groups": [
                {**asdict(group), "label_conflict": group.label_conflict, "speaker_conflict": group.speaker_conflict}
                for group in self.groups
            ],
            "pairs": [asdict(pair) for pair in self.pairs],
            "splits": [asdict(split) for split in self.splits],
            "failures": [
                {"row": item.row, "path": item.error.path, "code": item.error.code, "message": item.error.message}
                for item in self.failures
            ],
            "too_short": list(self.too_short),
            "candidates": self.candidates,
        }


def audit(
    table: pd.DataFrame,
    *,
    splits: Mapping[str, Iterable[tuple[Indices, Indices]]] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> AuditReport:
    """Look for what spoils an evaluation on these recordings.

    Args:
        table: a manifest.
        splits: by the name of a protocol its folds: training and test rows as positions from 0. This is what
            scikit-learn's splitters yield: ``splits={"speaker": SpeakerFolds().split(table)}``.
        jobs: number of processes that read; default one for each processor.
        progress: see `Progress`.
        cache: folder for fingerprints, see `emovox.corpora.prints.fingerprints`.

    Returns:
        The report. Recordings that cannot be read are part of it; they raise nothing.

    Raises:
        ParameterError: if a split names rows that there are not.
    """
    folds = [(name, fold) for name, folds in (splits or {}).items() for fold in enumerate(folds, start=1)]
    for name, (_, sides) in folds:
        _rows(name, sides, len(table))
    prints = fingerprints(table, jobs=jobs, progress=_stage(progress, "reading"), cache=cache)
    found = find_duplicates(prints, progress=_stage(progress, "comparing"))
    evidence: dict[int, list[Pair]] = defaultdict(list)
    for pair in found.pairs:
        evidence[pair.first].append(pair)
    groups = tuple(
        _group(table, rows, [pair for row in rows for pair in evidence.get(row, ())]) for rows in found.groups
    )
    return AuditReport(
        clips=len(table),
        groups=groups,
        pairs=found.pairs,
        splits=tuple(check_split(table, *sides, groups=groups, name=name, fold=fold) for name, (fold, sides) in folds),
        failures=tuple(prints.failures),
        too_short=found.too_short,
        candidates=found.candidates,
    )


def check_split(
    table: pd.DataFrame,
    train: Indices,
    test: Indices,
    *,
    groups: Sequence[Group] = (),
    name: str = "split",
    fold: int = 1,
) -> SplitAudit:
    """Find what training and test rows have in common.

    Args:
        table: a manifest.
        train, test: positions of rows, from 0.
        groups: recordings that occur more than once, see `audit`.
        name, fold: what the split is called in the result.

    Example:
        >>> from emovox import manifest
        >>> table = manifest.build([{"path": f"{n}.wav", "speaker": "ab"[n // 2]} for n in range(4)])
        >>> check_split(table, [0, 1], [2, 3]).speakers, check_split(table, [0, 2], [1, 3]).speakers
        ((), ('a', 'b'))
    """
    fit, tested = _rows(name, (train, test), len(table))
    sentences = (table["corpus"] + "/" + table["sentence"]).where(table["sentence"] != "", "")
    on_train, on_test = set(fit.tolist()), set(tested.tolist())
    split_groups = [
        number for number, group in enumerate(groups) if on_train & {*group.rows} and on_test & {*group.rows}
    ]
    leaked = {row for number in split_groups for row in groups[number].rows if row in on_test}
    return SplitAudit(
        name=name,
        fold=fold,
        train=len(fit),
        test=len(tested),
        speakers=_common(table["speaker"], fit, tested),
        sentences=_common(sentences, fit, tested),
        groups=tuple(split_groups),
        leaked=len(leaked | (on_train & on_test)),
        unknown_speakers=int((table["speaker"].iloc[np.concatenate([fit, tested])] == "").sum()),
    )


def _common(values: pd.Series[str], train: Rows, test: Rows) -> tuple[str, ...]:
    return tuple(sorted((set(values.iloc[train]) & set(values.iloc[test])) - {""}))


def _rows(name: str, sides: tuple[Indices, Indices], count: int) -> tuple[Rows, Rows]:
    train, test = (np.asarray(side, dtype=np.int64) for side in sides)
    rows = np.concatenate([train, test])
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise ParameterError(f"split '{name}' names rows outside 0 .. {count - 1}")
    return train, test


def _group(table: pd.DataFrame, rows: tuple[int, ...], evidence: Sequence[Pair]) -> Group:
    chosen = table.iloc[list(rows)]
    return Group(
        rows=rows,
        paths=tuple(chosen["path"]),
        kind="identical" if all(pair.kind == "identical" for pair in evidence) else "near",
        emotions=tuple(sorted(set(chosen["emotion"].where(chosen["emotion"] != "", chosen["native_label"])) - {""})),
        speakers=tuple(sorted(set(chosen["speaker"]) - {""})),
        bit_error=max(pair.bit_error for pair in evidence),
    )


def _group_findings(groups: Sequence[Group]) -> list[Finding]:
    superfluous = sum(len(group.rows) - 1 for group in groups)
    conflicts = sum(group.label_conflict for group in groups)
    doubles = sum(group.speaker_conflict for group in groups)
    return [
        _fault("duplicates", superfluous, f"superfluous clip(s): {len(groups)} recording(s) occur under several names"),
        _fault("label_conflict", conflicts, "recording(s) have copies with different emotions"),
        _fault("speaker_conflict", doubles, "recording(s) have copies under different speakers"),
    ]


def _split_findings(name: str, folds: Sequence[SplitAudit]) -> list[Finding]:
    leaked = sum(fold.leaked for fold in folds)
    speakers = len({speaker for fold in folds for speaker in fold.speakers})
    sentences = len({sentence for fold in folds for sentence in fold.sentences})
    unknown = max(fold.unknown_speakers for fold in folds)
    where = f"by the protocol '{name}'"
    return [
        _fault("duplicates_on_both_sides", leaked, f"test clip(s) are also trained on {where}"),
        _fault("speakers_on_both_sides", speakers, f"speaker(s) are both trained on and tested {where}"),
        _note("sentences_on_both_sides", sentences, f"sentence(s) are both trained on and tested {where}"),
        _note(
            "unknown_speakers", unknown, f"clip(s) name no speaker: nobody can tell on which sides they stand {where}"
        ),
    ]


def _fault(code: str, count: int, message: str) -> Finding:
    return Finding(code, "fault", count, message)


def _note(code: str, count: int, message: str) -> Finding:
    return Finding(code, "note", count, message)


def _stage(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)
