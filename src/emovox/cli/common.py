"""What all commands share: consoles, progress bars, the output format, and how errors end the process."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
_INTERRUPTED_MESSAGE = "Interrupted."

_EXTRA_OF = {
    **dict.fromkeys(("sklearn", "pandas", "pyarrow", "matplotlib", "jinja2", "skl2onnx", "onnx", "pooch"), "train"),
    **dict.fromkeys(("pydantic", "joblib", "scipy"), "train"),
    **dict.fromkeys(("torch", "lightning", "torchmetrics", "onnxscript", "safetensors", "audiomentations"), "deep"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "prometheus_client", "python_multipart", "h11"), "serve"),
    **dict.fromkeys(("httpx2", "websockets"), "client"),
    "sounddevice": "mic",
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
        sys.stdout.flush()  # a full disk or a closed pipe shows here, not while the interpreter ends
    except EmovoxError as error:
        return _fail(str(error), WRONG_USE)
    except ImportError as error:
        return _fail(*_explain_import(error))
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # typer takes it for the end of an answer at a prompt
            return _fail(_unexpected(error.__cause__), SOME_FAILED)
        return _fail(_INTERRUPTED_MESSAGE, INTERRUPTED)
    except (BrokenPipeError, SystemExit) as error:
        # typer and rich turn a closed pipe into SystemExit.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        _discard_output()
        return DONE
    except Exception as error:
        return _fail_unexpectedly(error)
    if code == INTERRUPTED:  # what typer makes of Ctrl-C
        return _fail(_INTERRUPTED_MESSAGE, INTERRUPTED)
    return code if isinstance(code, int) else DONE


def _fail(message: str, code: int) -> int:
    if _settings["debug"] and sys.exc_info()[0] is not None:
        traceback.print_exc()
    typer.echo(f"emovox: {message}", err=True)
    return code


def _explain_import(error: ImportError) -> tuple[str, int]:
    extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
    if extra is None:
        return _unexpected(error), SOME_FAILED
    return str(MissingExtraError.for_extra(extra, "this command")), WRONG_USE


def _fail_unexpectedly(error: Exception) -> int:
    show = getattr(error, "show", None)  # usage errors print themselves
    if show is not None:
        show()
        return WRONG_USE
    if isinstance(error, OSError):
        return _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", SOME_FAILED)
    return _fail(_unexpected(error), SOME_FAILED)


def _unexpected(error: BaseException) -> str:
    return f"Unexpected {type(error).__name__}: {error}. Run with `emovox --debug ...` for the traceback."


def _discard_output() -> None:
    """The reader (such as `head`) has seen enough; silence the interpreter's own complaint at exit."""
    with suppress(OSError, ValueError):  # where stdout is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    clean = _without_nan(document)
    text = json.dumps(clean, ensure_ascii=False, indent=2, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a narrow console, or a file name that is no text
        text = json.dumps(clean, indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")


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
    stderr().print(message, markup=False, soft_wrap=True)
