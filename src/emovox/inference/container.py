"""The bytes of a bundle: an ONNX file whose metadata says what the model is and whose last field is a checksum.

ONNX is protocol buffers, and fields of a message may follow in any order; so what belongs to a bundle is appended to a
finished ONNX file, which stays a valid ONNX file for every other program. `docs/bundle.md` describes the format.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from emovox.errors import BundleError

FORMAT_VERSION = 1
FORMAT_KEY = "emovox.format"
DESCRIPTION_KEY = "emovox"
CHECKSUM_KEY = "emovox.sha256"
PRODUCER = "emovox"
"""What `producer_name` of a bundle's ONNX model says; it stands at the file's begin and so survives a cut."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator sets that onnxruntime itself brings. Others need foreign machine code, which a bundle must not ask for."""

# Field numbers of onnx.proto3.
_PRODUCER_NAME, _GRAPH, _OPSET_IMPORT, _METADATA = 2, 7, 8, 14
_LENGTH_DELIMITED = 2
# A TensorProto.external_data entry with the key "location", as every protocol buffers library writes it.
_EXTERNAL_DATA = b"\x0a\x08location\x12"


@dataclass(frozen=True)
class Envelope:
    """What a bundle says about itself before anything is run.

    Attributes:
        description: the JSON text under the key ``emovox``.
        domains: operator sets that the graph asks for.
        sha256: the checksum, hexadecimal; no two bundles have the same.
    """

    description: str
    domains: frozenset[str]
    sha256: str


def seal(model: bytes, description: str) -> bytes:
    """Make a bundle: append the format version, the description and the checksum to an ONNX file.

    Args:
        model: a serialised ``onnx.ModelProto`` without metadata of emovox.
        description: JSON as `emovox.inference.BundleMetadata.to_json` gives it.

    Example:
        >>> open_envelope(seal(b"", '{"name": "nothing"}')).description
        '{"name": "nothing"}'
    """
    body = model + _entry(FORMAT_KEY, str(FORMAT_VERSION)) + _entry(DESCRIPTION_KEY, description)
    return body + _entry(CHECKSUM_KEY, hashlib.sha256(body).hexdigest())


def open_envelope(data: bytes, *, path: str | None = None) -> Envelope:
    """Check that `data` is a whole bundle that this version of emovox can read, and give its description.

    Raises:
        BundleError: ``not_a_bundle``, ``corrupt``, ``newer_version`` or ``unsafe``.
    """
    try:
        metadata, domains = _model_fields(data)
    except ValueError as error:
        if PRODUCER.encode() in data[:64] or FORMAT_KEY.encode() in data:
            raise _corrupt(path, "it is cut off or overwritten") from error
        raise BundleError(
            "is not an emovox bundle, nor any ONNX model",
            code="not_a_bundle",
            path=path,
            remedy="Give a file that `emovox train` or `emovox export` wrote.",
        ) from error
    version = metadata.get(FORMAT_KEY)
    if version is None or DESCRIPTION_KEY not in metadata:
        if metadata.get("producer") == PRODUCER:
            raise _corrupt(path, "its description is missing")
        raise BundleError(
            "is an ONNX model without emovox's description: its labels and its input are unknown",
            code="not_a_bundle",
            path=path,
            remedy="Give a file that `emovox train` or `emovox export` wrote.",
        )
    if version.isdecimal() and int(version) > FORMAT_VERSION:
        raise BundleError(
            f"has bundle format {version}; this emovox reads up to {FORMAT_VERSION}",
            code="newer_version",
            path=path,
            remedy="Update it: pip install --upgrade emovox",
        )
    body = data[: -len(_entry(CHECKSUM_KEY, "0" * 64))]
    if metadata.get(CHECKSUM_KEY) != hashlib.sha256(body).hexdigest():
        raise _corrupt(path, "its checksum does not match, so it was damaged or changed after it was written")
    _refuse_unsafe(data, domains, path)
    return Envelope(metadata[DESCRIPTION_KEY], domains, metadata[CHECKSUM_KEY])


def _corrupt(path: str | None, reason: str) -> BundleError:
    return BundleError(
        f"is a damaged bundle: {reason}", code="corrupt", path=path, remedy="Copy, download or export it again."
    )


def _refuse_unsafe(data: bytes, domains: frozenset[str], path: str | None) -> None:
    foreign = sorted(domains - DOMAINS)
    if foreign:
        raise BundleError(
            f"needs the operator set {', '.join(map(repr, foreign))}, which onnxruntime does not bring",
            code="unsafe",
            path=path,
            remedy="A bundle must consist of standard operators.",
        )
    if _EXTERNAL_DATA in data:
        raise BundleError(
            "points to weights in another file", code="unsafe", path=path, remedy="A bundle must be one whole file."
        )


def _model_fields(data: bytes) -> tuple[dict[str, str], frozenset[str]]:
    """Metadata (with ``producer``) and operator sets of an ONNX file; ValueError if it is none."""
    metadata: dict[str, str] = {}
    domains = set()
    has_graph = False
    for number, payload in _fields(data):
        has_graph |= number == _GRAPH
        if number == _METADATA:
            entry = dict(_fields(payload))
            metadata[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
        elif number == _PRODUCER_NAME:
            metadata["producer"] = payload.decode()
        elif number == _OPSET_IMPORT:
            domains.add(dict(_fields(payload)).get(1, b"").decode())
    if not has_graph and FORMAT_KEY not in metadata:
        raise ValueError("no graph")
    return metadata, frozenset(domains)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Top-level length-delimited fields of a protocol buffers message; ValueError where it is malformed.

    Wire format: https://protobuf.dev/programming-guides/encoding/
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == _LENGTH_DELIMITED:
            length, position = _varint(message, position)
            end = position + length
        elif kind == 0:
            end = _varint(message, position)[1]
        elif kind in (1, 5):
            end = position + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if end > len(message) or number == 0:
            raise ValueError("field ends beyond the message")
        if kind == _LENGTH_DELIMITED:
            yield number, message[position:end]
        position = end


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("number without end")


def _entry(key: str, value: str) -> bytes:
    """A `metadata_props` field (number 14) with one StringStringEntryProto."""
    inner = _text(1, key) + _text(2, value)
    return _text(_METADATA, inner)


def _text(number: int, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    length = bytearray()
    rest = len(raw)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return struct.pack("B", number << 3 | _LENGTH_DELIMITED) + bytes(length) + raw
