"""What `emovox predict` prints: as a table, as JSON or as CSV, each result as soon as it is there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from emovox.cli import show
from emovox.cli.common import Format

if TYPE_CHECKING:
    from rich.console import Console

    from emovox.inference.bundle import BundleMetadata
    from emovox.inference.recognizer import Failure, Prediction
    from emovox.inference.stream import TimelineSegment


class Writer(AbstractContextManager["Writer"], Protocol):
    """Where results go. A result is a prediction or failure, or begin, segments and end of a timeline."""

    def result(self, result: Prediction | Failure) -> None:
        """Write what is known of one recording."""

    def begin(self, path: str | None) -> None:
        """Begin the timeline of a recording."""

    def segment(self, segment: TimelineSegment) -> None:
        """Write the next window of the timeline."""

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        """End the timeline, at the recording's end or where it could not be read on."""


def writer(output: Format, meta: BundleMetadata, console: Console, names: Sequence[str], *, timeline: bool) -> Writer:
    """Choose the writer for a format."""
    if output is Format.JSON:
        return _Json(meta)
    if output is Format.CSV:
        return _Csv(meta, timeline=timeline)
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
        self._print(show.printable(path or "-"), style="bold")

    def segment(self, segment: TimelineSegment) -> None:
        from rich.text import Text

        line = Text(f"  {_clock(segment.start_s)} - {_clock(segment.end_s)}  ")
        if segment.confidence is None:
            line.append("no speech", style="dim")
        else:
            line += show.emotion_cells(segment.emotion, segment.confidence, ascii_only=self._ascii)
        self._print(line)

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        if failure is not None:
            reason = show.printable(failure.to_dict()["error"]["message"])
            self._print(f"  failed after {_clock(duration_s)}: {reason}", style="red")

    def _print(self, line: object, style: str | None = None) -> None:
        self._console.print(line, style=style, markup=False, soft_wrap=True)


class _Csv(_Quiet):
    def __init__(self, meta: BundleMetadata, *, timeline: bool) -> None:
        self._labels = meta.labels
        self._path: str | None = None
        first = ("start_s", "end_s", "emotion", "confidence", "speech")
        columns = first if timeline else ("emotion", "confidence", "duration_s")
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
        self._path = path

    def segment(self, segment: TimelineSegment) -> None:
        values = segment.to_dict()
        emotion = values["emotion"] or (None if segment.confidence is None else show.UNCERTAIN)
        head = [self._path, values["start_s"], values["end_s"], emotion, values["confidence"], values["speech"]]
        self._rows.add([*head, *(values["probabilities"].get(label) for label in self._labels), None, None])

    def end(self, duration_s: float, failure: Failure | None = None) -> None:  # noqa: ARG002 - the rows say it
        if failure is not None:
            self._failed(failure)

    def _failed(self, failure: Failure) -> None:
        error = failure.to_dict()["error"]
        self._rows.add([failure.path, *self._blank, error["code"], error["message"]])


class _Json:
    """One document that is whole even where Ctrl-C ends the work."""

    _CLOSING, _CLOSING_TIMELINE = "\n]}\n", "\n]}\n]}\n"

    def __init__(self, meta: BundleMetadata) -> None:
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
        head = f'{self._separator}{{"path": {show.json_value(path)}, "timeline": ['
        self._text.add(head, closing=self._CLOSING_TIMELINE)
        self._separator, self._segment_separator = ",\n", "\n"

    def segment(self, segment: TimelineSegment) -> None:
        text = self._segment_separator + show.json_value(segment.to_dict())
        self._text.add(text, closing=self._CLOSING_TIMELINE)
        self._segment_separator = ",\n"

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        fault = "" if failure is None else f', "error": {show.json_value(failure.to_dict()["error"])}'
        self._text.add(f'\n], "duration_s": {round(duration_s, 6)}{fault}}}', closing=self._CLOSING)


def _clock(seconds: float) -> str:
    """Write seconds as h:mm:ss.s, which is the same width up to ten hours.

    Example:
        >>> _clock(3661.26)
        '1:01:01.3'
    """
    tenths = round(seconds * 10)
    return f"{tenths // 36_000}:{tenths // 600 % 60:02}:{tenths % 600 / 10:04.1f}"
