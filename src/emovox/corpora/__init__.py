"""Corpora: readers of their official layouts, and what finds faults in them.

Example:
    >>> from pathlib import Path
    >>> said = CORPORA["ravdess"].utterance(Path("Actor_12/03-01-05-02-01-01-12.wav"))
    >>> said.speaker, said.gender, said.emotion, said.intensity
    ('12', 'female', 'angry', 'strong')
"""

from __future__ import annotations

from emovox.corpora.base import Corpus, Edition, FileNameError, Utterance
from emovox.corpora.registry import CORPORA
from emovox.corpora.scanning import Found, Problem, ScanResult, recognise, scan
from emovox.corpora.summary import Summary, summarise

__all__ = [
    "CORPORA",
    "Corpus",
    "Edition",
    "FileNameError",
    "Found",
    "Problem",
    "ScanResult",
    "Summary",
    "Utterance",
    "recognise",
    "scan",
    "summarise",
]
