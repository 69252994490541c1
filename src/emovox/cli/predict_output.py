"""What `emovox predict` prints: as a table, as JSON or as CSV, each result as soon as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from emovox.cli import show
from emovox.cli.common import Format

if TYPE_CHECKING:
    from rich.console import Console

    from emovox.inference.bundle import BundleMetadata
    from emovox.inference.recognizer import Failure, Prediction
    from emovox.inference.stream import TimelineSegment
    from emovox.inference.utterances import Utterance


class Kind(StrEnum):
    """What is told of a recording; parts have times. The value is the name that parts have in JSON."""

    WHOLE = "whole"
    TIMELINE = "timeline"
    UTTERANCES = "utterances"


class Writer(AbstractContextManager["Writer"], Protocol):
    """Where results go. A result is a prediction or failure, or begin, parts and end of a recording."""

    def result(self, result: Prediction | Failure) -> None:
        """Write what is known of one recording."""

    def begin(self, path: str | None) -> None:
        """Begin the parts of a recording."""

    def segment(self, segment: TimelineSegment | Utterance) -> None:
        """Write the next window or utterance."""

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        """End the parts, at the recording's end or where it could not be read on."""


def writer(output: Format, meta: BundleMetadata, console: Console, names: Sequence[str], *, kind: Kind) -> Writer:
    """Choose the writer for a format."""
    if output is Format.JSON:
        return _Json(meta, kind)
    if output is Format.CSV:
        return _Csv(meta, kind)
    return _Table(console, names)


class _Quiet:
    """Context manager that leaves nothing to close."""

    def __enter__(self) -> Writer:
        return self  # type: ignore[return-value]  # its subclasses are writers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _Table(_Quiet):
    def __init__(self, console: Console, names: Sequence[str]) -> None:
        self._console = console
        self._ascii = console.options.ascii_only
        self._parts = 0
        self._width = show.name_width([show.printable(name) for name in names], console, others=show.NAME_WIDTH + 21)

    def result(self, result: Prediction | Failure) -> None:
        from rich.text import Text

        from emovox.inference.recognizer import Failure

        line = Text(f"{show.name_cell(show.printable(result.path or '-'), self._width)}  ")
        if isinstance(result, Failure):
            line.append(f"failed: {show.printable(result.to_dict()['error']['message'])}", style="red")
        else:
            line += show.emotion_cells(result.emotion, result.confidence, ascii_only=self._ascii)
        self._print(line)

    def begin(self, path: str | None) -> None:
        self._parts = 0
        self._print(show.printable(path or "-"), style="bold")

    def segment(self, segment: TimelineSegment | Utterance) -> None:
        from rich.text import Text

        self._parts += 1
        line = Text(f"  {show.clock(segment.start_s)} - {show.clock(segment.end_s)}  ")
        if segment.confidence is None:
            line.append("no speech", style="dim")
        else:
            line += show.emotion_cells(segment.emotion, segment.confidence, ascii_only=self._ascii)
        self._print(line)

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        if failure is not None:
            reason = show.printable(failure.to_dict()["error"]["message"])
            self._print(f"  failed after {show.clock(duration_s)}: {reason}", style="red")
        elif not self._parts:
            self._print("  no speech", style="dim")

    def _print(self, line: object, style: str | None = None) -> None:
        self._console.print(line, style=style, markup=False, soft_wrap=True)


class _Csv(_Quiet):
    _COLUMNS: Mapping[Kind, Sequence[str]] = {
        Kind.WHOLE: ("emotion", "confidence", "duration_s"),
        Kind.TIMELINE: ("start_s", "end_s", "emotion", "confidence", "speech"),
        Kind.UTTERANCES: ("start_s", "end_s", "emotion", "confidence"),
    }

    def __init__(self, meta: BundleMetadata, kind: Kind) -> None:
        self._labels = meta.labels
        self._path: str | None = None
        self._parts = 0
        columns = self._columns = self._COLUMNS[kind]
        self._rows = show.CsvRows(["path", *columns, *meta.labels, "error_code", "error_message"])
        self._blank = [None] * (len(columns) + len(meta.labels))

    def result(self, result: Prediction | Failure) -> None:
        from emovox.inference.recognizer import Failure

        if isinstance(result, Failure):
            self._failed(result)
            return
        values = result.to_dict()
        head = [values["path"], values["emotion"] or show.UNCERTAIN, values["confidence"], values["duration_s"]]
        self._rows.add([*head, *(values["probabilities"][label] for label in self._labels), None, None])

    def begin(self, path: str | None) -> None:
        self._path, self._parts = path, 0

    def segment(self, segment: TimelineSegment | Utterance) -> None:
        self._parts += 1
        values = segment.to_dict()
        values["emotion"] = values["emotion"] or (None if segment.confidence is None else show.UNCERTAIN)
        head = [self._path, *(values[column] for column in self._columns)]
        self._rows.add([*head, *(values["probabilities"].get(label) for label in self._labels), None, None])

    def end(self, duration_s: float, failure: Failure | None = None) -> None:  # noqa: ARG002 - the rows say it
        if failure is not None:
            self._failed(failure)
        elif not self._parts:  # so that no recording is missing
            self._rows.add([self._path, *self._blank, None, None])

    def _failed(self, failure: Failure) -> None:
        error = failure.to_dict()["error"]
        self._rows.add([failure.path, *self._blank, error["code"], error["message"]])


class _Json:
    """One document that is whole even where Ctrl-C ends the work."""

    _CLOSING, _CLOSING_PARTS = "\n]}\n", "\n]}\n]}\n"

    def __init__(self, meta: BundleMetadata, kind: Kind) -> None:
        self._kind = kind
        head = f'{{\n"model": {show.json_value(meta.summary())},\n"results": ['
        self._text = show.JsonText(head + self._CLOSING)
        self._separator = f"{head}\n"  # what stands before the next result
        self._segment_separator = "\n"

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, BrokenPipeError):
            self._text.close()

    def result(self, result: Prediction | Failure) -> None:
        self._text.add(self._separator + show.json_value(result.to_dict()), closing=self._CLOSING)
        self._separator = ",\n"

    def begin(self, path: str | None) -> None:
        head = f'{self._separator}{{"path": {show.json_value(path)}, "{self._kind}": ['
        self._text.add(head, closing=self._CLOSING_PARTS)
        self._separator, self._segment_separator = ",\n", "\n"

    def segment(self, segment: TimelineSegment | Utterance) -> None:
        text = self._segment_separator + show.json_value(segment.to_dict())
        self._text.add(text, closing=self._CLOSING_PARTS)
        self._segment_separator = ",\n"

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        fault = "" if failure is None else f', "error": {show.json_value(failure.to_dict()["error"])}'
        self._text.add(f'\n], "duration_s": {round(duration_s, 6)}{fault}}}', closing=self._CLOSING)
