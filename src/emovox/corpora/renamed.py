"""The names that the reference study gave to copies of RAVDESS and TESS.

``12_01_02_01_dogs-sitting_angry``: speaker, vocal channel (01 speech, 02 song), intensity (01 normal, 02 strong),
repetition, text, emotion. That the third number is the intensity and the fourth the repetition shows in the neutral
clips: RAVDESS has no strong neutral ones, and none is numbered 02 in the third place. Speakers 1 to 24 are actors of
RAVDESS. "Speakers" 25 and 26 are the two of TESS; which is which, the names do not tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emovox.emotions import normalise

_PATTERN = re.compile(r"(\d\d)_(\d\d)_(\d\d)_(\d\d)_([a-z][a-z-]*)_([a-z_ ]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Renamed:
    """The parts of such a name; numbers as they are written."""

    speaker: str
    channel: str
    intensity: str
    repetition: str
    text: str
    emotion: str


def split(name: str) -> Renamed | None:
    """Take a name apart; None if it is not one of these.

    Example:
        >>> split("25_01_01_01_back_ps")
        Renamed(speaker='25', channel='01', intensity='01', repetition='01', text='back', emotion='surprise')
    """
    match = _PATTERN.fullmatch(name)
    emotion = normalise(match[6]) if match else None
    if match is None or emotion is None:
        return None
    return Renamed(match[1], match[2], match[3], match[4], match[5].lower(), emotion)
