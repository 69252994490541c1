"""How commands show emotions: coloured names, bars, names of files, and CSV and JSON that grow row by row."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from emovox.palette import colour

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

UNCERTAIN = "uncertain"
"""What stands for an emotion that the model is not sure enough of."""

NAME_WIDTH = 9
EMOTION_WIDTH = NAME_WIDTH + 20
"""Width of what stands beside the name or the times of sound: two spaces, the emotion, its probability and a bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def printable(text: str) -> str:
    r"""Replace what a terminal or UTF-8 cannot show: control characters, bytes of no known encoding.

    Example:
        >>> printable("a\x1b[31m.wav") == "a\ufffd[31m.wav"
        True
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def bar(share: float, *, width: int = 10, ascii_only: bool = False) -> str:
    """Draw a share of 1 as a bar of at most `width` characters.

    Example:
        >>> bar(0.5, width=4, ascii_only=True), bar(0.3125, width=4)
        ('##', '█▎')
    """
    if ascii_only:
        return "#" * round(share * width)
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def clock(seconds: float) -> str:
    """Write seconds as h:mm:ss.s, which is the same width up to ten hours.

    Example:
        >>> clock(3661.26)
        '1:01:01.3'
    """
    tenths = round(seconds * 10)
    return f"{tenths // 36_000}:{tenths // 600 % 60:02}:{tenths % 600 / 10:04.1f}"


def emotion_cells(emotion: str | None, confidence: float, *, ascii_only: bool) -> Text:
    """Show an emotion, its probability and a bar, in the emotion's colour."""
    from rich.text import Text

    style = "dim" if emotion is None else colour(emotion)
    line = Text((emotion or UNCERTAIN).ljust(NAME_WIDTH), style=style if emotion is None else f"bold {style}")
    line.append(f" {confidence:>5.1%}  ", style="default not bold not dim")
    line.append(bar(confidence, ascii_only=ascii_only), style=f"{style} not bold")
    return line


def name_cell(name: str, width: int) -> str:
    """Fit the name of a file into a column; a long one loses its begin.

    Example:
        >>> name_cell("a.wav", 7), name_cell("folder/long.wav", 9)
        ('a.wav  ', '…long.wav')
    """
    return name.ljust(width) if len(name) <= width else f"…{name[len(name) - width + 1 :]}"


def name_width(names: Sequence[str], console: Console, *, others: int) -> int:
    """Width of the column of file names, beside `others` characters; not limited where no one watches."""
    longest = max(map(len, names), default=0)
    return min(longest, max(console.width - others, 16)) if console.is_terminal else longest


class CsvRows:
    """CSV on stdout, a row at a time."""

    def __init__(self, header: Sequence[str]) -> None:
        self._file: TextIO = sys.stdout
        self._writer = csv.writer(self._file, lineterminator="\n")
        self.add(header)

    def add(self, row: Sequence[object]) -> None:
        """Write a row; None becomes an empty cell."""
        self._writer.writerow([_encodable(cell) if isinstance(cell, str) else cell for cell in row])
        self._file.flush()


class JsonText:
    """A JSON document on stdout, a piece at a time, that can be closed properly at any time.

    Args:
        empty: the document if nothing is added to it.
    """

    def __init__(self, empty: str) -> None:
        self._file: TextIO = sys.stdout
        self._closing = empty

    def add(self, text: str, *, closing: str) -> None:
        """Write a piece of the document.

        Args:
            text: one or more whole values, or the begin of an object or list.
            closing: what would make the document whole after it.
        """
        # Set first: Ctrl-C that comes while the text is written is raised when it has been.
        self._closing = closing
        self._file.write(text)
        self._file.flush()

    def close(self) -> None:
        """Make the document whole."""
        self._file.write(self._closing)
        self._file.flush()


def json_value(value: Any) -> str:
    """Write a value as JSON; names of files that are no UTF-8 keep their bytes as escaped surrogates."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if text == _encodable(text) else json.dumps(value, allow_nan=False)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
