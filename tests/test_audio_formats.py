"""Every format, written by real encoders, is read as what it was; legitimate oddities are no faults."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sound_files
import soundfile
import soxr
from sound_files import ENCODINGS, Signal, pcm16, wav_chunks, wav_format

from emovox import audio
from emovox.errors import AudioError


@pytest.mark.parametrize("kind", ENCODINGS)
def test_content_is_what_was_recorded(kind: str, clip: Signal) -> None:
    encoding = ENCODINGS[kind]
    original = soxr.resample(clip, 16_000, encoding.rate)
    found = audio.load(sound_files.encode(original, encoding), rate=None)
    assert found.rate == encoding.rate
    assert found.samples.dtype == np.float32
    if encoding.correlation == 1:
        np.testing.assert_allclose(found.samples, original, atol=encoding.quantum * 1.01)
        return
    shift = sound_files.lag(found.samples, original)
    assert 0 <= shift <= encoding.shift
    assert sound_files.correlation(found.samples, original, shift=shift) >= encoding.correlation
    # No sound is lost but what an MP4 that counts in milliseconds cuts off, and at most what comes too early and two
    # frames of the codec are added.
    rounding = encoding.rate // 1_000 if encoding.codec == "aac" else 0
    assert -rounding <= len(found.samples) - len(original) <= encoding.shift + 2_048


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.m4a", "aac"), ("x.mp4", "aac"), ("x.webm", "libopus"), ("x.mp3", "libmp3lame"), ("x.ogg", "libvorbis")],
)
def test_the_same_samples_as_the_program_ffmpeg(name: str, codec: str, rate: int, clip: Signal, tmp_path: Path) -> None:
    if codec == "libopus" and rate == 44_100:
        pytest.skip("Opus has no such rate")
    soundfile.write(tmp_path / "source.wav", soxr.resample(clip, 16_000, rate), rate)
    quiet = ["ffmpeg", "-v", "error"]
    subprocess.run([*quiet, "-i", "source.wav", "-c:a", codec, "-ar", str(rate), name], cwd=tmp_path, check=True)
    decode = [*quiet, "-i", name, "-f", "f32le", "-ac", "1", "-"]
    expected = np.frombuffer(subprocess.run(decode, cwd=tmp_path, check=True, capture_output=True).stdout, np.float32)
    found = audio.load(tmp_path / name, rate=None).samples
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-6)
    if codec == "aac":  # the program leaves in what fills the last frame; the edit list says where the sound ends
        assert len(found) == pytest.approx(len(clip) * rate / 16_000, abs=rate / 1_000)
    else:
        assert len(found) == len(expected)


@pytest.mark.parametrize("kind", ["m4a", "mp4", "mp4 in fragments"])
def test_no_more_than_what_was_recorded_at_the_end(kind: str, clip: Signal) -> None:
    encoding = ENCODINGS[kind]
    rate = encoding.rate
    for length in range(20_000, 20_000 + 2_048, 307):
        original = soxr.resample(clip, 16_000, rate)[:length]
        found = audio.load(sound_files.encode(original, encoding), rate=None)
        assert len(found.samples) - encoding.shift == pytest.approx(length, abs=rate / 1_000 + 1)


@pytest.mark.parametrize("kind", ["wav int16", "flac", "ogg opus", "mp3", "m4a", "webm"])
def test_resampling_keeps_time(kind: str, clip: Signal) -> None:
    original = soxr.resample(clip, 16_000, 48_000)
    found = audio.load(sound_files.encode(original, kind, rate=48_000))
    assert found.rate == 16_000
    assert sound_files.lag(found.samples, clip) == 0
    assert sound_files.correlation(found.samples, clip) > 0.97


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000, 192_000])
def test_rates(rate: int, clip: Signal) -> None:
    original = soxr.resample(clip, 16_000, rate)
    found = audio.load(sound_files.encode(original, "wav float", rate=rate))
    assert abs(found.duration_s - len(clip) / 16_000) < 0.001
    if rate > 16_000:
        assert sound_files.correlation(found.samples, clip) > 0.999


@pytest.mark.parametrize("kind", ["wav int16", "flac", "ogg vorbis", "ogg opus", "m4a", "webm"])
@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(kind: str, channels: int, clip: Signal) -> None:
    rate = 48_000
    original = soxr.resample(clip, 16_000, rate)
    loudness = np.linspace(0.2, 1.0, channels, dtype=np.float32)
    found = audio.load(sound_files.encode(original[:, None] * loudness, kind, rate=rate), rate=None)
    assert sound_files.correlation(found.samples, original) > 0.9
    if channels == 2 or kind in ("wav int16", "flac"):  # codecs low-pass one of six
        gain = np.linalg.norm(found.samples) / np.linalg.norm(original)
        assert gain == pytest.approx(loudness.mean(), rel=0.03)


@pytest.mark.parametrize(
    ("rest", "form"),
    [
        pytest.param([(b"LIST", b"INFOISFT\x05\0\0\0abcd\0\0")], b"WAVE", id="LIST after the samples"),
        pytest.param([(b"id3 ", b"x" * 333), (b"afsp", b"")], b"WAVE", id="odd and empty chunks after the samples"),
    ],
)
def test_wav_with_trailing_chunks(rest: list[tuple[bytes, bytes]], form: bytes, voice: Signal) -> None:
    file = wav_chunks(wav_format(), (b"data", pcm16(voice)), *rest, form=form)
    np.testing.assert_allclose(audio.load(file).samples, voice, atol=1e-4)
    np.testing.assert_allclose(audio.load(file + b"\0" * 999).samples, voice, atol=1e-4)


def test_wav_with_leading_chunks(voice: Signal) -> None:
    """A broadcast WAV has kilobytes of text before the samples; odd chunks are padded."""
    bext = b"description".ljust(602, b"\0") + b"A=PCM,F=16000,W=16,M=mono\r\n" * 200
    file = wav_chunks(
        (b"bext", bext), (b"junk", b"x" * 77), wav_format(), (b"fact", b"\0" * 4), (b"data", pcm16(voice))
    )
    np.testing.assert_allclose(audio.load(file).samples, voice, atol=1e-4)


def test_wav_of_odd_length(voice: Signal) -> None:
    file = wav_chunks(wav_format(bits=8), (b"data", b"\x80\x90\x70" * 2_001))
    assert len(file) % 2 == 0
    for whole in (file, file[:-1]):  # some writers leave the padding byte out
        assert len(audio.load(whole).samples) == 6_003


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 36])
def test_wav_from_a_pipe(length: int, voice: Signal) -> None:
    """Who writes to a pipe cannot go back and fill in the length."""
    file = bytearray(wav_chunks(wav_format(), (b"data", pcm16(voice))))
    file[4:8] = struct.pack("<I", (length + 36) & 0xFFFFFFFF)
    file[40:44] = struct.pack("<I", length)
    np.testing.assert_allclose(audio.load(bytes(file)).samples, voice, atol=1e-4)


def test_flac_from_a_pipe(voice: Signal) -> None:
    file = bytearray(sound_files.encode(voice, "flac"))
    file[21] &= 0xF0  # the 36-bit sample count of STREAMINFO; 0 means unknown
    file[22:26] = bytes(4)
    np.testing.assert_allclose(audio.load(bytes(file)).samples, voice, atol=1e-4)
    part = audio.load(bytes(file), start_s=0.5, end_s=1.0)
    np.testing.assert_allclose(part.samples, voice[8_000:16_000], atol=1e-4)
    assert audio.duration_s(bytes(file)) == 2


def test_au_from_a_pipe(voice: Signal) -> None:
    file = bytearray(sound_files.encode(voice, "au"))
    file[8:12] = b"\xff" * 4
    np.testing.assert_allclose(audio.load(bytes(file)).samples, voice, atol=1e-4)


def ogg_checksum(page: bytes) -> bytes:
    """CRC of RFC 3533, section 6, field 7."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ 0x104C11DB7 if value & 0x80000000 else value << 1
    return struct.pack("<I", value)


@pytest.mark.parametrize("kind", ["ogg vorbis", "ogg opus"])
def test_ogg_whose_end_is_not_marked(kind: str, clip: Signal) -> None:
    """Android's MediaMuxer never sets the end-of-stream flag; libsndfile fails at the end of such an Opus file."""
    file = sound_files.encode(clip, kind)
    last = file.rfind(b"OggS")
    page = bytearray(file[last:])
    page[5] &= ~0x04
    page[22:26] = bytes(4)
    page[22:26] = ogg_checksum(bytes(page))
    found = audio.load(file[:last] + bytes(page))
    assert 0 <= len(found.samples) - len(clip) < 320
    assert sound_files.correlation(found.samples, clip) > 0.97


@pytest.mark.parametrize("kind", ["ogg vorbis", "ogg opus"])
def test_chained_ogg_is_read_to_its_end(kind: str, clip: Signal) -> None:
    file = sound_files.encode(clip, kind) + sound_files.encode(clip[:16_000], kind)
    with soundfile.SoundFile(io.BytesIO(file)) as sound:
        assert len(sound.read()) == len(clip), "libsndfile reads chained streams now: let it"
    found = audio.load(file)
    assert abs(len(found.samples) - len(clip) - 16_000) < 400
    second = found.samples[len(clip) :]
    assert sound_files.correlation(second, clip[:16_000], shift=sound_files.lag(second, clip[:16_000])) > 0.95


def test_mp3_without_a_length_is_read_to_its_end(clip: Signal) -> None:
    """libsndfile estimates the length and stops there."""
    file = sound_files.encode(clip, "mp3").replace(b"Xing", b"\0\0\0\0", 1).replace(b"Info", b"\0\0\0\0", 1)
    with soundfile.SoundFile(io.BytesIO(file)) as sound:
        assert len(sound.read()) < 0.95 * len(clip), "libsndfile reads such an MP3 to its end now: let it"
    found = audio.load(file).samples
    assert 0 <= len(found) - len(clip) < 3 * 1_152
    assert sound_files.correlation(found, clip, shift=sound_files.lag(found, clip)) > 0.97


def test_concatenated_mp3(clip: Signal) -> None:
    file = sound_files.encode(clip, "mp3")
    assert len(audio.load(file + file).samples) >= 2 * len(clip)


@pytest.mark.parametrize("picture_bytes", [50_000, 3_000_000])
def test_mp3_with_a_cover_and_tags(picture_bytes: int, clip: Signal) -> None:
    picture = b"\0image/png\0\3\0\x89PNG\r\n\x1a\n" + np.random.default_rng(0).bytes(picture_bytes)
    frame = b"APIC" + struct.pack(">I", len(picture)) + b"\0\0" + picture
    size = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    file = b"ID3\3\0\0" + size + frame + sound_files.encode(clip, "mp3") + b"TAG" + bytes(125)
    found = audio.load(file).samples
    assert abs(len(found) - len(clip)) < 2 * 1_152
    assert sound_files.correlation(found, clip, shift=sound_files.lag(found, clip)) > 0.97


def test_flac_with_an_id3_tag(voice: Signal) -> None:
    file = b"ID3\3\0\0\0\0\0\x7f" + bytes(127) + sound_files.encode(voice, "flac")
    np.testing.assert_allclose(audio.load(file).samples, voice, atol=1e-4)


def test_video(clip: Signal) -> None:
    found = audio.load(sound_files.with_video([clip]))
    assert sound_files.lag(found.samples, clip) == 0
    assert sound_files.correlation(found.samples, clip) > 0.97


def test_first_of_several_sound_tracks(clip: Signal) -> None:
    found = audio.load(sound_files.with_video([clip, clip[::-1].copy()]))
    assert sound_files.correlation(found.samples, clip) > 0.97


def test_video_without_sound() -> None:
    with pytest.raises(AudioError, match="no sound track") as caught:
        audio.load(sound_files.with_video([]))
    assert caught.value.code == "not_audio"


def test_channels_and_rate_that_change_within_a_file(clip: Signal) -> None:
    """ADTS frames carry their own setup, as in a radio recording that goes from speech to stereo music."""
    stereo = np.stack([clip, clip], axis=1)
    doubled = soxr.resample(clip, 16_000, 32_000)
    file = b"".join(
        sound_files.encode(part, "adts", rate=rate)
        for part, rate in ((clip, 16_000), (stereo, 16_000), (doubled, 32_000))
    )
    found = audio.load(file)
    assert abs(found.duration_s - 3 * len(clip) / 16_000) < 0.4
    for third in range(3):
        begin = round(third * len(found.samples) / 3)
        part = found.samples[begin : begin + len(clip)]
        assert sound_files.correlation(part, clip, shift=sound_files.lag(part, clip)) > 0.9


@pytest.mark.parametrize("kind", ["mp3", "ogg opus", "m4a", "webm"])
def test_lossy_formats_may_overshoot(kind: str) -> None:
    """A decoder's output beyond full scale is neither cut nor refused."""
    square = (np.sign(np.sin(np.arange(48_000) * 0.05)) * 0.999).astype(np.float32)
    found = audio.load(sound_files.encode(square, kind, rate=48_000), rate=None)
    assert 1.0 < np.abs(found.samples).max() < 10.0


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\nfile://{path}\n",
        "ffconcat version 1.0\nfile {path}\n",
        "[playlist]\nFile1={path}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        '<Representation mimeType="audio/mp4"><BaseURL>{path}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
    ],
    ids=["hls", "m3u", "concat", "pls", "sdp", "dash"],
)
@pytest.mark.parametrize("ending", [".m3u8", ".wav", ".mp4"])
def test_playlists_are_not_followed(text: str, ending: str, tmp_path, voice: Signal) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(sound_files.encode(voice, "wav int16"))
    playlist = tmp_path / f"list{ending}"
    playlist.write_text(text.format(path=secret))
    for source in (playlist, playlist.read_bytes()):
        with pytest.raises(AudioError) as caught:
            audio.load(source)
        assert caught.value.code == "not_audio"


def test_tracks_that_appear_within_a_file(clip: Signal) -> None:
    """As when a television recording begins before the programme."""
    file = sound_files.encode(clip, "mpeg-ts") + sound_files.encode(np.stack([clip] * 2, axis=1), "mpeg-ts")
    assert audio.load(file).duration_s > 2 * len(clip) / 16_000
