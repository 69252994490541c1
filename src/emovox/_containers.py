"""Whether a file ends where its own header says. Nothing but `emovox._decoders` uses this file.

The decoding libraries hide cuts: they shorten what they report to what is there. Only the few fields that tell a
file's length are read here, and only those that are exact:

- WAV, AIFF, CAF: the length of the chunk that holds the samples. RF64, W64, AU, AVI: the length of the whole.
- MP4, m4a, mov, 3gp: the lengths of the boxes that hold samples and index.
- Matroska, WebM: the length of the segment, which programs that stream leave open.
- MP3: the byte count of its Xing header. OGG: the length of its last page (RFC 3533, section 6).

Raw AAC, AMR, AC-3, MPEG-TS, FLV, ASF, NIST, MP3 without a Xing header and what is streamed say nothing: a cut in
them cannot be told from an end. The same holds for an OGG that is cut exactly between two pages: many writers
(Android's MediaMuxer among them) never mark the last page as the end of the stream, so that no mark proves nothing.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import Protocol

SLACK_BYTES = 64
"""Headers may be wrong by as much: writers that count their own header in, or that forget to pad."""

_MAX_CHUNKS = 10_000
_OPEN_LENGTH = 0x7FFF_0000
"""32-bit lengths from here on are what programs write that cannot go back and fill in the true one: 0x7FFFF000 (SoX,
eSpeak), 0x7FFFFFFF, 0xFFFFFFFF (FFmpeg) and the same less a header."""
_MP3_FRAME_BYTES = 1_441


class End(Enum):
    """What the header says about the end of a file."""

    AS_STATED = "where the header says, or it does not say"
    CUT = "before the header says"
    OPEN = "the length was left open, or further streams follow: libsndfile would stop early"
    LOST = "among more chunks than any recording has"


class _File(Protocol):
    size: int

    def read(self, size: int = -1) -> bytes: ...
    def seek(self, offset: int, whence: int = 0) -> int: ...


def find_end(file: _File) -> End:
    """Compare the length that the header of `file` states with its size; leaves the position at 0."""
    file.seek(0)
    head = file.read(4096).ljust(64, b"\0")
    try:
        end = _find_end(file, head)
    except struct.error:  # the header itself is cut
        end = End.CUT
    file.seek(0)
    return end


def _find_end(file: _File, head: bytes) -> End:
    magic = head[:4]
    if magic == b"OggS":
        return _ogg_end(file, head)
    if head[4:8] == b"ftyp":
        return _mp4_end(file)
    if magic in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE":
        return _chunk_end(file, 12, "<4sI" if magic == b"RIFF" else ">4sI", b"data", align=2)
    if magic == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _chunk_end(file, 12, ">4sI", b"SSND", align=2)
    if magic == b"caff":
        return _chunk_end(file, 8, ">4sq", b"data", align=1)
    if head[:3] == b"ID3" or (head[0] == 0xFF and head[1] >= 0xE0):
        return _mp3_end(file, head)
    stated = _stated_size(head)
    return End.CUT if stated is not None and stated > file.size + SLACK_BYTES else End.AS_STATED


def _stated_size(head: bytes) -> int | None:
    """Size of the whole file as its first bytes state it; None where they do not."""
    match head[:4]:
        case b"RF64":
            size = 8 + int(struct.unpack_from("<Q", head, 20)[0])
        case b"riff":
            size = int(struct.unpack_from("<Q", head, 16)[0])
        case b".snd":
            offset, length = struct.unpack_from(">II", head, 4)
            size = offset + length if length < _OPEN_LENGTH else 0
        case b"RIFF" if head[8:12] == b"AVI ":
            length = struct.unpack_from("<I", head, 4)[0]
            size = 8 + length if length < _OPEN_LENGTH else 0
        case b"\x1a\x45\xdf\xa3":
            size = _matroska_size(head)
        case _:
            return None
    return size if size < 1 << 62 else None


def _matroska_size(head: bytes) -> int:
    """End of the segment, or 0 if its length is open (RFC 8794, sections 4 and 6.2)."""
    length, position = _matroska_length(head, 4)
    position += length
    if head[position : position + 4] != b"\x18\x53\x80\x67":
        return 0
    length, position = _matroska_length(head, position + 4)
    return position + length if length else 0


def _matroska_length(head: bytes, position: int) -> tuple[int, int]:
    """Read a length of 1 to 8 bytes; all ones mean unknown, given as 0. Returns it and where it ends."""
    first = head[position]
    width = 9 - first.bit_length()
    value = int.from_bytes(head[position : position + width], "big") & ((1 << 7 * width) - 1)
    return (0 if value == (1 << 7 * width) - 1 else value), position + width


def _chunk_end(file: _File, position: int, header: str, payload: bytes, *, align: int) -> End:
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        kind, length = struct.unpack(header, file.read(struct.calcsize(header)))
        begin = position + struct.calcsize(header)
        if kind == payload:
            if length == 0 and file.size > begin:
                return End.OPEN
            if length < 0 or (align > 1 and length >= _OPEN_LENGTH):
                return End.AS_STATED
            return End.CUT if begin + length > file.size + SLACK_BYTES else End.AS_STATED
        if length < 0:
            return End.CUT
        position = begin + -(-length // align) * align
    return End.LOST


def _mp4_end(file: _File) -> End:
    """Walk the boxes of the top level (ISO/IEC 14496-12, section 4.2)."""
    position = 0
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        box = file.read(16)
        if len(box) < 8:
            break
        length, kind = struct.unpack_from(">I4s", box)
        if length == 1:
            length = struct.unpack_from(">Q", box, 8)[0]
        if length < 8:  # 0: up to the end of the file
            break
        position += length
        if position > file.size:
            return End.CUT if kind in (b"mdat", b"moov", b"moof") else End.AS_STATED
    return End.AS_STATED


def _mp3_end(file: _File, head: bytes) -> End:
    begin = 0
    if head[:3] == b"ID3":
        # Four groups of 7 bits; flag 0x10 tells of a footer.
        begin = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        begin += 10 if head[5] & 0x10 else 0
    file.seek(begin)
    frame = file.read(256)
    tag = max(frame.find(b"Xing", 0, 48), frame.find(b"Info", 0, 48))
    if tag < 0:
        return End.AS_STATED
    flags = struct.unpack_from(">I", frame, tag + 4)[0]
    if not flags & 2:
        return End.AS_STATED
    stated = struct.unpack_from(">I", frame, tag + (12 if flags & 1 else 8))[0]
    return End.CUT if begin + stated > file.size + _MP3_FRAME_BYTES else End.AS_STATED


def _ogg_end(file: _File, head: bytes) -> End:
    tail_bytes = min(file.size, 1 << 17)  # a page has at most 65,307 bytes
    file.seek(file.size - tail_bytes)
    tail = file.read(tail_bytes)
    start = tail.rfind(b"OggS\0")
    if start < 0 or start + 27 > len(tail):
        return End.CUT
    segments = tail[start + 27 : start + 27 + tail[start + 26]]
    if len(segments) < tail[start + 26] or start + 27 + len(segments) + sum(segments) > len(tail):
        return End.CUT
    chained = tail[start + 14 : start + 18] != head[14:18]
    marked = tail[start + 5] & 0x04
    return End.OPEN if chained or not marked else End.AS_STATED
