"""The door through which sound enters: sources, parts, arrays, blocks, folders and the errors of opening."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import sound_files
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_files import ENCODINGS, Signal

from emovox import audio
from emovox.errors import AudioError, ParameterError


@pytest.fixture(scope="session")
def wav(voice: Signal) -> bytes:
    return sound_files.encode(voice, "wav float")


def error_of(source: object, **options: object) -> AudioError:
    with pytest.raises(AudioError) as caught:
        audio.load(source, **options)
    return caught.value


def test_every_kind_of_source_gives_the_same(wav: bytes, voice: Signal, tmp_path: Path) -> None:
    path = tmp_path / "ein Männer-Satz 你好.wav"
    path.write_bytes(wav)
    spooled = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - what web frameworks hand over
    spooled.write(wav)
    with path.open("rb") as opened, path.open("rb", buffering=0) as raw, spooled:
        opened.seek(100)
        for source in (path, str(path), wav, bytearray(wav), memoryview(wav), io.BytesIO(wav), opened, raw, spooled):
            np.testing.assert_array_equal(audio.load(source).samples, voice)
        assert not opened.closed


@pytest.mark.parametrize("kind", ["wav float", "m4a"])
def test_pipes(kind: str, voice: Signal, tmp_path: Path) -> None:
    file = sound_files.encode(voice, kind)
    expected = audio.load(file).samples
    command = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        threading.Thread(target=lambda: (process.stdin.write(file), process.stdin.close())).start()
        np.testing.assert_array_equal(audio.load(process.stdout).samples, expected)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(file)).start()
        np.testing.assert_array_equal(audio.load(tmp_path / "pipe").samples, expected)


class Endless(io.RawIOBase):
    """Gives zeros for ever, and cannot seek."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_endless_pipe_is_left() -> None:
    assert error_of(Endless(), limits=audio.Limits(max_bytes=1 << 21)).code == "too_large"


def test_faults_of_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert error_of(tmp_path / "none.wav").code == "not_found"
    assert error_of(tmp_path / "empty.wav" / "x").code == "not_found"
    assert error_of("nul\0byte").code == "not_found"
    assert error_of("x" * 5_000).code == "not_found"
    assert error_of(tmp_path / "loop").code == "not_found"
    assert error_of("https://example.org/a.wav").code == "not_found"
    assert error_of(tmp_path / "folder.wav").code == "is_directory"
    assert error_of(tmp_path / "empty.wav").code == "empty"
    assert error_of(b"").code == "empty"
    assert error_of(Path(os.devnull)).code == "empty"
    error = error_of(tmp_path / "none.wav")
    assert str(tmp_path / "none.wav") in str(error)
    assert error.remedy


def test_no_permission(tmp_path: Path, wav: bytes) -> None:
    """Root may read everything, so a process without that power tries."""
    path = tmp_path / "mine.wav"
    path.write_bytes(wav)
    path.chmod(0)
    script = (
        "import os, sys\n"
        "from emovox import audio\n"
        "from emovox.errors import AudioError\n"
        "os.getuid() or os.setuid(65534)\n"
        "try: audio.load(sys.argv[1])\n"
        "except AudioError as error: print(error.code)\n"
    )
    for folder in [tmp_path, *tmp_path.parents][:4]:
        if folder.stat().st_uid == os.getuid() and tempfile.gettempdir() in str(folder.parent):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "no_permission", done.stderr


def test_no_permission_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wav: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(wav)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert error_of(tmp_path / "a.wav").code == "no_permission"


class Failing(io.BytesIO):
    """A disk that fails beyond a place."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 20_000:
            raise OSError(5, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("kind", ["wav float", "flac", "ogg vorbis", "m4a lossless", "mp3"])
def test_failing_disk(kind: str, voice: Signal, capfd: pytest.CaptureFixture[str]) -> None:
    error = error_of(Failing(sound_files.encode(np.tile(voice, 4), kind)))
    assert error.code == "unreadable"
    assert "Input/output error" in str(error)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("source", [None, 3, 1.5, np.zeros(16_000), [0.0] * 16_000, io.StringIO("RIFF")])
def test_what_is_no_source(source: object) -> None:
    with pytest.raises(ParameterError):
        audio.load(source)


def test_closed_file(wav: bytes) -> None:
    file = io.BytesIO(wav)
    file.close()
    assert error_of(file).code == "unreadable"


@pytest.mark.parametrize(
    "kind", ["wav int16", "wav ADPCM", "flac", "aiff", "w64", "ogg vorbis", "ogg opus", "mp3", "m4a"]
)
@settings(max_examples=15, deadline=None)
@given(bounds=st.tuples(st.floats(0, 1.8), st.floats(0.15, 3)))
def test_parts_are_parts_of_the_whole(kind: str, bounds: tuple[float, float]) -> None:
    file = sound_files.encode(_noise(ENCODINGS[kind].rate), kind)
    start, length = bounds
    whole = audio.load(file, rate=None)
    part = audio.load(file, rate=None, start_s=start, end_s=start + length)
    first, last = round(start * whole.rate), (start + length) * whole.rate
    np.testing.assert_array_equal(part.samples, whole.samples[first : round(min(last, len(whole.samples)))])


def _noise(rate: int) -> Signal:
    return np.random.default_rng(0).normal(scale=0.1, size=2 * rate).astype(np.float32)


def test_a_part_of_a_long_file_is_found_at_once(tmp_path: Path) -> None:
    """Reading the last second of 20 minutes decodes one block, not hundreds."""
    path = tmp_path / "long.flac"
    path.write_bytes(sound_files.encode(np.tile(_noise(16_000), 600), "flac"))
    with path.open("rb", buffering=0) as file:
        counted = _Counting(file.read())
    audio.load(counted, start_s=1_198, end_s=1_199)
    assert counted.given < path.stat().st_size / 10


class _Counting(io.BytesIO):
    given = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.given += len(data)
        return data


def test_parts_that_cannot_be(wav: bytes) -> None:
    for start, end in ((-1, None), (1, 1), (2, 1), (float("nan"), None), (0, float("nan")), (float("inf"), None)):
        with pytest.raises(ParameterError):
            audio.load(wav, start_s=start, end_s=end)
    assert error_of(wav, start_s=2.5).code == "empty"
    assert error_of(wav, start_s=1.95).code == "too_short"
    for rate in (0, -1, 10**9):
        with pytest.raises(ParameterError):
            audio.load(wav, rate=rate)


@pytest.mark.parametrize("kind", ENCODINGS)
@pytest.mark.parametrize("block_s", [0.03, 0.7, 60.0])
def test_stream_gives_what_load_gives(kind: str, block_s: float, voice: Signal) -> None:
    encoding = ENCODINGS[kind]
    file = sound_files.encode(soxr.resample(np.tile(voice, 4), 16_000, encoding.rate), kind)
    blocks = list(audio.stream(file, rate=22_050, block_s=block_s))
    assert all(block.dtype == np.float32 and len(block) == round(block_s * 22_050) for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= round(block_s * 22_050)
    np.testing.assert_allclose(np.concatenate(blocks), audio.load(file, rate=22_050).samples, atol=1e-5)


def test_resampling_is_that_of_soxr(voice: Signal) -> None:
    file = sound_files.encode(voice, "wav float", rate=48_000)
    expected = soxr.resample(voice, 48_000, 16_000, quality="HQ")
    np.testing.assert_allclose(audio.load(file).samples, expected, atol=1e-6)
    np.testing.assert_allclose(audio.from_array(voice, source_rate=48_000).samples, expected, atol=1e-6)


def test_stream_allows_silence_and_short_sound() -> None:
    file = sound_files.encode(np.zeros(400, np.float32), "wav float")
    assert [len(block) for block in audio.stream(file)] == [400]
    for block_s in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ParameterError):
            next(audio.stream(file, block_s=block_s))


def test_stream_that_is_left_closes_its_file(wav: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav)
    blocks = audio.stream(path, block_s=0.1)
    next(blocks)
    blocks.close()
    if Path("/proc/self/fd").is_dir():
        held = [
            str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink() and entry.exists()
        ]
        assert str(path) not in held


@pytest.mark.parametrize("kind", ENCODINGS)
def test_duration(kind: str, voice: Signal) -> None:
    """As the header says; in the MP4 family that counts what the decoder may leave out or add at the end."""
    encoding = ENCODINGS[kind]
    file = sound_files.encode(soxr.resample(voice, 16_000, encoding.rate), kind)
    assert audio.duration_s(file) == pytest.approx(audio.load(file, rate=None).duration_s, abs=0.07)


@pytest.mark.parametrize(
    ("dtype", "scale"), [("int8", 128), ("int16", 2**15), ("int32", 2**31), ("float16", 1), ("float64", 1), (">f4", 1)]
)
def test_arrays(dtype: str, scale: float, voice: Signal) -> None:
    array = (voice * (scale * 0.99 if scale > 1 else 1)).astype(dtype)
    found = audio.from_array(array, source_rate=16_000).samples
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, array.astype(float) / scale, atol=1e-7)
    stereo = np.stack([array, np.zeros_like(array)], axis=1)
    np.testing.assert_allclose(audio.from_array(stereo, source_rate=16_000).samples, found / 2, atol=1e-7)


def test_an_array_of_the_wrong_way_round(voice: Signal) -> None:
    """The fault of the reference study: (channels, samples) where (samples, channels) is read, or the reverse."""
    with pytest.raises(AudioError, match="transpose") as caught:
        audio.from_array(np.stack([voice, voice]), source_rate=16_000)
    assert caught.value.code == "bad_channels"


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros(16_000, np.uint8), "not_audio"),
        (np.zeros(16_000, bool), "not_audio"),
        (np.zeros(16_000, complex), "not_audio"),
        (np.array(["a"]), "not_audio"),
        (np.float32(0), "not_audio"),
        (np.zeros((2, 2, 2)), "not_audio"),
        ([], "empty"),
        (np.zeros((16_000, 0)), "bad_channels"),
        (np.zeros(16_000), "silent"),
        (np.ones(100), "too_short"),
        (np.full(16_000, np.nan), "non_finite"),
        (np.full(16_000, 1e300), "non_finite"),
    ],
)
def test_arrays_that_are_no_sound(array: object, code: str) -> None:
    with pytest.raises(AudioError) as caught:
        audio.from_array(array, source_rate=16_000)
    assert caught.value.code == code


@pytest.mark.parametrize("rate", [0, -1, 10**7])
def test_arrays_of_absurd_rates(rate: int, voice: Signal) -> None:
    with pytest.raises(AudioError) as caught:
        audio.from_array(voice, source_rate=rate)
    assert caught.value.code == "bad_rate"


def test_find_audio(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "b/2.wav",
        "b/1.FLAC",
        "a/x.opus",
        "a/notes.txt",
        ".hidden/y.wav",
        "a/._x.wav",
        "z.m4a",
        "c.wav/d.mp3",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in audio.find_audio([tmp_path])]
    assert found == ["z.m4a", "a/x.opus", "b/1.FLAC", "b/2.wav", "c.wav/d.mp3"]
    named = [tmp_path / "a" / "notes.txt", "missing.wav"]
    assert list(audio.find_audio(named)) == [tmp_path / "a" / "notes.txt", Path("missing.wav")]


def test_folders_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(audio.find_audio([tmp_path])) == []
    assert str(tmp_path) in caplog.text


def test_a_bad_file_among_many_costs_only_itself(tmp_path: Path, wav: bytes) -> None:
    for index in range(20):
        (tmp_path / f"{index:02}.wav").write_bytes(wav[:1_000] if index == 7 else wav)
    results = {}
    for path in audio.find_audio([tmp_path]):
        try:
            results[path.name] = audio.load(path).duration_s
        except AudioError as error:
            results[path.name] = error.code
    assert results.pop("07.wav") == "truncated"
    assert set(results.values()) == {2.0}
    assert len(results) == 19


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
# Not getrusage: what it gives after a fork is the parent's peak.
PEAK_SCRIPT = """
import sys
from pathlib import Path
from emovox import audio

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

list(audio.stream(sys.argv[1], rate=16_000))  # brings the libraries in
before = peak()
"""
STREAM_SCRIPT = """
total = sum(len(block) for block in audio.stream(sys.argv[2], rate=16_000))
print(total / 16_000, peak() - before)
"""
LOAD_SCRIPT = """
try: audio.load(sys.argv[2])
except audio.AudioError as error: print(error.code, peak() - before)
"""


def run_measured(script: str, short: bytes, long: bytes, folder: Path) -> list[str]:
    (folder / "short").write_bytes(short)
    (folder / "long").write_bytes(long)
    command = [sys.executable, "-c", PEAK_SCRIPT + script, str(folder / "short"), str(folder / "long")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "minutes"), [("wav int16", 60), ("flac", 60), ("ogg opus", 15), ("mp3", 60), ("adts", 60)]
)
def test_long_files_are_streamed_in_constant_memory(kind: str, minutes: int, tmp_path: Path) -> None:
    minute = np.tile(_noise(16_000), 30)
    if kind in ("wav int16", "flac"):
        short, long = sound_files.encode(minute, kind), sound_files.encode(np.tile(minute, minutes), kind)
    else:  # joined files are one in these formats
        first, other = sound_files.encode(minute, kind), sound_files.encode(minute, kind)
        short, long = first + other, first + other * (minutes - 1)
    seconds, megabytes = map(float, run_measured(STREAM_SCRIPT, short, long, tmp_path))
    assert seconds == pytest.approx(60 * minutes, rel=0.002)
    assert megabytes < 16  # an hour of samples would take 230, a quarter of one 58


@needs_proc
@pytest.mark.slow
def test_ten_hours_of_silence_are_refused_in_constant_memory(tmp_path: Path) -> None:
    """Small on disk, enormous decoded, and without a length in the header."""
    minute = sound_files.encode(np.zeros(60 * 16_000, np.float32), "mp3")
    code, megabytes = run_measured(LOAD_SCRIPT, minute, minute * 600, tmp_path)
    assert code == "too_long"
    assert 200 < float(megabytes) < 280  # the hour that is allowed takes 230 at 16 kHz
