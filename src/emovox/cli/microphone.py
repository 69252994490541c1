"""Sound for `emovox listen`: from a microphone, or from a file as if somebody spoke it."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emovox.audio import Samples
from emovox.errors import EmovoxError, MissingExtraError
from emovox.inference.pcm import from_pcm16
from emovox.inference.utterances import INTERVAL_S, pieces

if TYPE_CHECKING:
    from emovox.audio import Source

BLOCK_S = 0.05
_HELD_S = 10.0
_LOWEST_RATE, _HIGHEST_RATE = 8_000, 192_000


class MicrophoneError(EmovoxError):
    """There is no microphone, or it cannot be used."""

    default_code = "no_microphone"


@dataclass(frozen=True)
class Block:
    """A short piece of sound, and whether there is more already."""

    samples: Samples
    behind: bool


@contextmanager
def from_file(source: Source, *, at_once: bool = False) -> Iterator[tuple[int, Iterator[Block]]]:
    """Open a recording; its sound comes at the speed of a microphone, or as fast as it can be heard.

    Yields:
        Rate in Hz, and the sound.

    Raises:
        AudioError: with a code of `emovox.audio`, now or from the iterator.
    """
    rate, blocks = pieces(source)
    yield rate, _all_at_once(blocks, rate) if at_once else _in_time(blocks, rate)


def _all_at_once(blocks: Iterator[Samples], rate: int) -> Iterator[Block]:
    for samples in _cut(blocks, round(INTERVAL_S * rate)):
        yield Block(samples, behind=False)


def _in_time(blocks: Iterator[Samples], rate: int) -> Iterator[Block]:
    begin, heard = time.monotonic(), 0
    for samples in _cut(blocks, round(BLOCK_S * rate)):
        heard += len(samples)
        early = begin + heard / rate - time.monotonic()
        if early > 0:
            time.sleep(early)
        yield Block(samples, behind=early < -INTERVAL_S)


def _cut(blocks: Iterator[Samples], size: int) -> Iterator[Samples]:
    rest: Samples = np.empty(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if len(rest):
        yield rest


@contextmanager
def from_microphone(device: str | None = None) -> Iterator[tuple[int, Iterator[Block]]]:
    """Open a microphone.

    Args:
        device: its number or a part of its name; None takes the system's default.

    Yields:
        Rate in Hz, and the sound, without end.

    Raises:
        MissingExtraError: if the extra ``mic`` is missing.
        MicrophoneError: if there is no microphone, it cannot be opened, or it goes away.
    """
    sounddevice = _sounddevice()
    try:
        found = sounddevice.query_devices(int(device) if device and device.isdigit() else device, kind="input")
        rate = round(min(max(found["default_samplerate"], _LOWEST_RATE), _HIGHEST_RATE))
        heard: queue.Queue[bytes | None] = queue.Queue(maxsize=round(_HELD_S / BLOCK_S))
        microphone = sounddevice.RawInputStream(
            samplerate=rate,
            blocksize=round(BLOCK_S * rate),
            device=found["index"],
            channels=1,
            dtype="int16",
            callback=lambda data, *_: _put(heard, bytes(data)),
            finished_callback=lambda: _put(heard, None),
        )
        microphone.start()
    except (ValueError, sounddevice.PortAudioError) as error:
        raise MicrophoneError(_reason(error), remedy=_remedy(sounddevice)) from error
    with microphone:
        yield rate, _from_queue(heard)


def _put(heard: queue.Queue[bytes | None], item: bytes | None) -> None:
    """Put what was heard; if nobody takes it for long, the oldest is lost."""
    while True:
        try:
            heard.put_nowait(item)
        except queue.Full:
            heard.get_nowait()
        else:
            return


def _from_queue(heard: queue.Queue[bytes | None]) -> Iterator[Block]:
    while (data := heard.get()) is not None:
        yield Block(from_pcm16(data), behind=heard.qsize() > INTERVAL_S / BLOCK_S)
    raise MicrophoneError("the microphone went away", remedy="Plug it in again.")


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError.for_extra("mic", "listening to a microphone") from error
    except OSError as error:  # the wheels for Linux come without PortAudio
        raise MicrophoneError(
            f"the microphone cannot be used ({error})",
            remedy="Install PortAudio (Debian, Ubuntu: apt-get install libportaudio2), or play a file: --input FILE.",
        ) from error
    return sounddevice


def _reason(error: Exception) -> str:
    text = str(error)
    return f"there is no microphone to listen to ({text})" if text else "there is no microphone to listen to"


def _remedy(sounddevice: Any) -> str:
    inputs = [
        f"{number} ({item['name']})"
        for number, item in enumerate(sounddevice.query_devices())
        if item["max_input_channels"] > 0
    ]
    known = f"Choose one with --device: {', '.join(inputs)}" if inputs else "Plug one in"
    return f"{known}; or play a file: --input FILE."
