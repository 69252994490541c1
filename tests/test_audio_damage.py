"""Damaged, cut and hostile files end in an AudioError that says why, soon and without much memory."""

from __future__ import annotations

import functools
import io
import struct
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import sound_files
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sound_files import ENCODINGS, Signal, pcm16, wav_chunks, wav_format

from emovox import audio
from emovox.errors import AudioError

MAGIC = (b"", b"RIFF", b"OggS\0", b"fLaC\0\0\0\x22", b"ID3\3\0\0", b"\xff\xfb\x90\x64", b"\x1a\x45\xdf\xa3", b"FORM")
MAGIC += (
    b"\0\0\0\x18ftypM4A ",
    b"caff\0\1\0\0",
    b".snd",
    b"#!AMR\n",
    b"FLV\1\5",
    b"\x47" * 8,
    b"NIST_1A\n   1024\n",
    b"wvpk",
)


@contextmanager
def cheap(*, seconds: float = 2.0, megabytes: float = 32.0) -> Iterator[None]:
    """Fail if the body takes more time of the processor or more memory of Python and numpy."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        yield
    finally:
        used = time.process_time() - begin
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    assert used < seconds
    assert peak < megabytes


def code_of(data: bytes, **options: object) -> str | None:
    try:
        waveform = audio.load(data, **options)
    except AudioError as error:
        return error.code
    assert np.isfinite(waveform.samples).all()
    return None


@functools.cache
def encoded(kind: str) -> bytes:
    time_s = np.arange(ENCODINGS[kind].rate) / ENCODINGS[kind].rate
    noise = np.random.default_rng(0).normal(scale=0.02, size=time_s.size)
    return sound_files.encode((0.4 * np.sin(1_000 * time_s) + noise).astype(np.float32), kind)


@pytest.mark.parametrize("kind", [kind for kind, encoding in ENCODINGS.items() if encoding.cut])
def test_every_cut_is_noticed(kind: str) -> None:
    file = encoded(kind)
    places = {*range(1, 120, 7), *np.linspace(120, len(file) - 100, 40).astype(int)}
    for place in sorted(places):
        expected = (
            {"truncated", "not_audio", "too_short", "empty"} if place < 600 or kind == "wavpack" else {"truncated"}
        )
        assert code_of(file[:place]) in expected, f"cut after {place} of {len(file)} bytes"


@pytest.mark.parametrize("kind", [kind for kind, encoding in ENCODINGS.items() if not encoding.cut])
def test_a_cut_without_a_stated_length_shortens(kind: str) -> None:
    """What is left is never longer than it was; the formats are listed in emovox._containers."""
    file = encoded(kind)
    whole = audio.duration_s(file)
    for place in np.linspace(1, len(file) - 1, 40).astype(int):
        try:
            assert audio.load(file[:place]).duration_s <= whole + 0.001
        except AudioError as error:
            assert error.code in {"truncated", "not_audio", "too_short", "empty"}  # noqa: PT017


@pytest.mark.parametrize("kind", ["ogg vorbis", "ogg opus"])
def test_ogg_cut_within_a_page(kind: str, clip: Signal) -> None:
    file = sound_files.encode(clip, kind)
    pages = [index for index in range(len(file)) if file.startswith(b"OggS\0", index)]
    for begin, end in zip(pages, [*pages[1:], len(file)], strict=True):
        for place in (begin + 5, begin + 20, begin + 27, (begin + end) // 2, end - 1):
            assert code_of(file[:place]) in {"truncated", "not_audio"}
    assert len(audio.load(file[: pages[-1]]).samples) < len(clip)


def test_mp3_with_a_stated_length_is_missed_when_cut(clip: Signal) -> None:
    file = sound_files.encode(clip, "mp3")
    for place in np.linspace(300, len(file) - 1_500, 20).astype(int):
        assert code_of(file[:place]) == "truncated"


def test_a_few_lost_bytes_are_forgiven(voice: Signal) -> None:
    file = sound_files.encode(voice, "wav int16")
    assert len(audio.load(file[:-64]).samples) == len(voice) - 32
    assert code_of(file[:-66]) == "truncated"


@pytest.mark.parametrize("rate", [0, 1, 1_999, 384_001, 4_000_000_000])
def test_absurd_rates(rate: int, voice: Signal) -> None:
    with cheap():
        assert code_of(wav_chunks(wav_format(rate=rate), (b"data", pcm16(voice)))) == "bad_rate"


@pytest.mark.parametrize("channels", [0, 33, 1_000, 1_025, 65_535])
def test_absurd_channel_counts(channels: int, voice: Signal) -> None:
    with cheap():
        assert code_of(wav_chunks(wav_format(channels=channels), (b"data", pcm16(voice)))) == "bad_channels"


def test_header_that_promises_gigabytes(voice: Signal) -> None:
    file = bytearray(wav_chunks(wav_format(), (b"data", pcm16(voice))))
    file[40:44] = struct.pack("<I", 0x7FFE0000)
    with cheap():
        assert code_of(bytes(file)) == "truncated"


def test_flac_that_promises_months(voice: Signal) -> None:
    file = bytearray(sound_files.encode(voice, "flac"))
    file[21] |= 0x0F
    file[22:26] = b"\xff" * 4
    with cheap():
        assert code_of(bytes(file)) == "too_long"
        with pytest.raises(AudioError) as caught:
            list(audio.stream(bytes(file)))
    assert caught.value.code == "truncated"


def test_million_chunks(voice: Signal) -> None:
    with cheap():
        assert code_of(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 1_000_000) == "not_audio"
        assert code_of(b"\0\0\0\x08ftyp" + b"\0\0\0\x08free" * 1_000_000) == "not_audio"


@pytest.mark.parametrize("kind", ["flac", "ogg opus", "mp3", "webm"])
def test_small_file_that_holds_hours(kind: str) -> None:
    """Silence packs well: a few hundred bytes a minute."""
    minute = np.zeros(60 * ENCODINGS[kind].rate, np.float32)
    file = sound_files.encode(minute, kind)
    limits = audio.Limits(max_duration_s=30)
    with cheap(seconds=1.0, megabytes=16.0):
        assert code_of(file, limits=limits) == "too_long"


@pytest.mark.parametrize("kind", ["ogg opus", "mp3", "adts"])
def test_hours_that_no_header_tells_of(kind: str) -> None:
    """Decoding stops at the limit, and takes no more memory than the limit allows."""
    minute = np.zeros(60 * 16_000, np.float32)
    file = sound_files.encode(minute, kind) + sound_files.encode(minute, kind) * 59
    with cheap(seconds=6.0, megabytes=8.0 + len(file) / 1e6):
        assert code_of(file, limits=audio.Limits(max_duration_s=60.5)) == "too_long"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("channels", [1, 2])
def test_non_finite_samples(value: float, channels: int, voice: Signal) -> None:
    samples = np.repeat(voice[:, None], channels, axis=1)
    samples[12_345, -1] = value
    assert code_of(sound_files.encode(samples, "wav float")) == "non_finite"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("wav float", 0.0), ("wav float", 0.00009), ("wav u8", -0.01), ("flac", 0.25), ("ogg opus", 0.0), ("m4a", 0.0)],
)
def test_silence(value: float, kind: str) -> None:
    """A constant is silence too: converters that are off by a little."""
    assert code_of(sound_files.encode(np.full(16_000, value, np.float32), kind)) == "silent"


def test_quiet_speech_is_not_silence(clip: Signal) -> None:
    assert code_of(sound_files.encode(clip * 0.001, "wav float")) is None


@pytest.mark.parametrize("kind", ["wav int16", "flac", "ogg opus", "m4a", "webm"])
def test_too_short_and_empty(kind: str, voice: Signal) -> None:
    encoding = ENCODINGS[kind]
    tenth = encoding.rate // 10
    voice = np.tile(voice, 4)[: encoding.rate]
    limits = audio.Limits(min_duration_s=0.2)
    assert code_of(sound_files.encode(voice[:tenth], kind), limits=limits) == "too_short"
    assert code_of(sound_files.encode(voice[:0], kind)) in {"empty", "not_audio"}


def test_too_long(voice: Signal) -> None:
    file = sound_files.encode(voice, "wav int16")
    assert code_of(file, limits=audio.Limits(max_duration_s=1.9)) == "too_long"
    assert code_of(file, limits=audio.Limits(max_duration_s=1.9), end_s=1.9) is None
    with pytest.raises(AudioError) as caught:
        list(audio.stream(file, limits=audio.Limits(max_duration_s=1.9)))
    assert caught.value.code == "too_long"


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is no recording\n" * 50,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"%PDF-1.7\n" + bytes(500),
        b"PK\3\4" + bytes(500),
        b"RIFF\x24\1\0\0WEBPVP8 " + bytes(500),
        b"RIFF",
        b"x",
        bytes(10_000),
    ],
)
def test_not_audio(data: bytes) -> None:
    assert code_of(data) == "not_audio"


def test_data_of_other_programs_is_not_taken_for_sound(voice: Signal) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, voice, 16_000, format="MAT5", subtype="DOUBLE")
    assert code_of(buffer.getvalue()) == "not_audio"


def test_damaged_packets_are_passed_over_aloud(clip: Signal, caplog: pytest.LogCaptureFixture) -> None:
    """As players do: one bad frame in a long recording does not cost the rest."""
    clip = np.tile(clip, 3)
    file = bytearray(sound_files.encode(clip, "adts"))
    place = file.index(b"\xff\xf1", len(file) // 2)
    file[place + 9 : place + 60] = b"\xff" * 51
    with caplog.at_level("WARNING"):
        found = audio.load(bytes(file))
    assert abs(len(found.samples) - len(clip)) < 5_000
    assert "damaged packet" in caplog.text


def test_mostly_damaged_packets_are_refused(clip: Signal) -> None:
    file = bytearray(sound_files.encode(np.tile(clip, 3), "adts"))
    place = file.index(b"\xff\xf1", 1_000)
    while (place := file.find(b"\xff\xf1", place + 2)) >= 0:
        file[place + 9 : place + 60] = b"\xff" * 51
    assert code_of(bytes(file)) == "truncated"


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MAGIC), st.binary(max_size=3_000))
@example(b"RIFF", b"\0\0\0\0WAVEdata\0\0\0\0")
def test_random_bytes(magic: bytes, rest: bytes) -> None:
    begin = time.process_time()
    code_of(magic + rest)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("kind", ENCODINGS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(data=st.data())
def test_flipped_bits(kind: str, data: st.DataObject) -> None:
    file = bytearray(encoded(kind))
    where = st.one_of(st.integers(0, min(400, len(file) - 1)), st.integers(0, len(file) - 1))
    for place, bits in data.draw(st.lists(st.tuples(where, st.integers(1, 255)), min_size=1, max_size=8)):
        file[place] ^= bits
    begin = time.process_time()
    code_of(bytes(file))
    assert time.process_time() - begin < 5


def test_nothing_is_printed_by_the_libraries(capfd: pytest.CaptureFixture[str]) -> None:
    """An exception in a C callback would be printed there and then lost."""
    random = np.random.default_rng(1)
    for kind in ENCODINGS:
        for _ in range(20):
            file = bytearray(encoded(kind))
            place = int(random.integers(4, 200))
            file[place : place + 4] = random.choice(
                [b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x80", b"\xfe\xff\xff\x7f"]
            )
            code_of(bytes(file))
    printed = capfd.readouterr()
    assert "Traceback" not in printed.err
    assert "callback" not in printed.err
    assert printed.out == ""


def test_ctrl_c_cannot_be_lost_in_a_callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voice: Signal) -> None:
    """Where C calls Python an exception is printed and forgotten, so libsndfile reads files without calling back."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "voice.flac"
    path.write_bytes(sound_files.encode(voice, "flac"))
    monkeypatch.setattr(soundfile.SoundFile, "_init_virtual_io", interrupted)
    assert len(audio.load(path).samples) == len(voice)
    with pytest.raises(KeyboardInterrupt):
        audio.load(path.read_bytes())
