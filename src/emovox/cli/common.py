"""What all commands share: consoles, progress bars, the output format, and how errors end the process."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from emovox.errors import EmovoxError, MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

DONE, SOME_FAILED, WRONG_USE = 0, 1, 2
INTERRUPTED = 130
"""What shells expect of a process that Ctrl-C ended."""

_EXTRA_OF = {
    **dict.fromkeys(("sklearn", "pandas", "pyarrow", "matplotlib", "jinja2", "skl2onnx", "onnx", "pooch"), "train"),
    **dict.fromkeys(("pydantic", "joblib", "scipy"), "train"),
    **dict.fromkeys(("torch", "lightning", "torchmetrics", "onnxscript", "safetensors", "audiomentations"), "deep"),
}

_settings = {"debug": False, "quiet": False}


class Format(StrEnum):
    """How a command prints its result."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def configure(*, debug: bool, quiet: bool) -> None:
    """Remember the options that stand before the subcommand."""
    _settings.update(debug=debug, quiet=quiet)


def run(app: typer.Typer) -> int:
    """Run `app` and give the exit code; a traceback is shown only with ``--debug``."""
    try:
        code = app(standalone_mode=False)
    except EmovoxError as error:
        _complain(str(error))
        return WRONG_USE
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _complain(str(MissingExtraError.for_extra(extra, "this command")))
        return WRONG_USE
    except (KeyboardInterrupt, typer.Abort):
        _complain("Interrupted. What was finished is kept.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (such as `head`) has seen enough; silence the interpreter's own complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        show = getattr(error, "show", None)  # click's usage errors print themselves
        if show is not None:
            show()
            return WRONG_USE
        if isinstance(error, OSError):
            _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        else:
            _complain(f"Unexpected {type(error).__name__}: {error}. Run with `emovox --debug ...` for the traceback.")
        return SOME_FAILED
    return code if isinstance(code, int) else DONE


def _complain(message: str) -> None:
    if _settings["debug"]:
        traceback.print_exc()
    typer.echo(f"emovox: {message}", err=True)


def stdout() -> Console:
    """Console for results."""
    from rich.console import Console

    return Console(highlight=False)


def stderr() -> Console:
    """Console for progress, hints and warnings."""
    from rich.console import Console

    return Console(stderr=True, quiet=_settings["quiet"], highlight=False)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout and nothing else; NaN becomes null."""
    json.dump(_without_nan(document), sys.stdout, ensure_ascii=False, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars on stderr with count and estimate; absent when quiet or when nobody watches.

    Example:
        >>> with progress() as bars:
        ...     for item in bars.track([1, 2], description="Reading"):
        ...         pass
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = stderr()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=_settings["quiet"] or not console.is_terminal,
    ) as bars:
        yield bars


def warn(message: str) -> None:
    """Print a hint or a warning on stderr."""
    stderr().print(message, markup=False)
