"""How commands end: messages, exit codes, pipes and interruption; and that nothing heavy is loaded on the way."""

from __future__ import annotations

import errno
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import emovox
from emovox.cli import common, main
from emovox.errors import AudioError, EmovoxError


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "_settings", {"debug": False, "quiet": False})


def run(command: Callable[[], object], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    monkeypatch.setattr(sys, "argv", ["emovox", *arguments])
    return common.run(app)


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> None:
        raise error

    return command


def chained(cause: BaseException) -> OSError:
    error = OSError(errno.ENOSPC, "No space left on device", "/disk/a.csv")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (AudioError("is silent", path="a.wav", remedy="Check it."), 2, "emovox: a.wav: is silent. Check it.\n"),
        (EmovoxError("no"), 2, "emovox: no\n"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "pip install 'emovox[deep]'"),
        (ModuleNotFoundError("No module named 'pandas.io'", name="pandas.io"), 2, "pip install 'emovox[train]'"),
        (ModuleNotFoundError("No module named 'zzz'", name="zzz"), 1, "Unexpected ModuleNotFoundError: No module"),
        (ImportError("libx.so: cannot open"), 1, "Unexpected ImportError: libx.so"),
        (chained(ValueError()), 1, "emovox: No space left on device: /disk/a.csv\n"),
        (ValueError("strange"), 1, "Unexpected ValueError: strange. Run with `emovox --debug"),
        (MemoryError(), 1, "Unexpected MemoryError"),
        (EOFError("short"), 1, "Unexpected EOFError: short"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (typer.Abort(), 130, "Interrupted"),
        (typer.Exit(1), 1, ""),
        (typer.Exit(0), 0, ""),
        (typer.BadParameter("must be even"), 2, "must be even"),
    ],
)
def test_how_errors_end(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(raising(error), monkeypatch) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    common.configure(debug=True, quiet=False)
    for error in (AudioError("is silent"), ValueError("strange"), OSError(5, "Input/output error")):
        run(raising(error), monkeypatch)
        assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--nonsense"], ["nonsense"]])
def test_wrong_use(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["emovox", *arguments])
    assert common.run(main.app) == 2
    assert "nonsense" in capsys.readouterr().err


def test_success(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(lambda: None, monkeypatch) == 0


def test_json_is_json_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"nan": math.nan, "inf": [math.inf, -math.inf], "deep": ({"x": math.nan},), "name": "Männer\udcff.wav"}
    common.print_json(document)
    found = json.loads(capsys.readouterr().out)
    assert found == {"nan": None, "inf": [None, None], "deep": [{"x": None}], "name": "Männer\udcff.wav"}


def start(script: str, **options: object) -> subprocess.Popen[str]:
    head = "import sys, time, typer\nfrom emovox.cli import common\napp = typer.Typer()\n"
    program = f"{head}{script}\nsys.exit(common.run(app))"
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("line", ["print('x' * 1000)", "typer.echo('x' * 1000)", "common.stdout().print('x' * 1000)"])
def test_closed_pipe_is_no_error(line: str) -> None:
    """As with `emovox ... | head -1`."""
    process = start(f"@app.command()\ndef go():\n    for _ in range(10000): {line}", stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


def test_pipe_that_is_closed_at_once_is_no_error() -> None:
    process = start("@app.command()\ndef go():\n    time.sleep(0.5); print('x')", stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a thing of Linux")
def test_full_disk_under_stdout() -> None:
    with Path("/dev/full").open("w") as full:
        process = start("@app.command()\ndef go():\n    print('x')", stdout=full)
        assert process.wait(60) == 1
    assert process.stderr.read().startswith("emovox: No space left on device")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c() -> None:
    process = start("@app.command()\ndef go():\n    print('on', flush=True); time.sleep(60)", stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr.read() == "emovox: Interrupted.\n"


def test_the_command_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from emovox.cli.main import main; main()", "--version"], capture_output=True
    )
    assert done.returncode == 0
    assert done.stdout.decode().strip() == f"emovox {emovox.__version__}"


def test_starting_loads_nothing_heavy() -> None:
    """What takes long to import waits until a command needs it."""
    script = "import sys, emovox.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {
        "numpy",
        "scipy",
        "pandas",
        "sklearn",
        "torch",
        "onnxruntime",
        "matplotlib",
        "soundfile",
        "soxr",
        "av",
        "rich",
    }
    assert not heavy & set(done.stdout.split())


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with common.progress() as bars:
        assert list(bars.track([1, 2, 3])) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_quiet_silences_hints(capsys: pytest.CaptureFixture[str]) -> None:
    common.warn("[a] hint")
    assert capsys.readouterr().err == "[a] hint\n"
    common.configure(debug=False, quiet=True)
    common.warn("hint")
    assert capsys.readouterr().err == ""
