"""Corpora: readers of their official layouts, and what finds faults in them.

Example:
    >>> from pathlib import Path
    >>> said = CORPORA["ravdess"].utterance(Path("Actor_12/03-01-05-02-01-01-12.wav"))
    >>> said.speaker, said.gender, said.emotion, said.intensity
    ('12', 'female', 'angry', 'strong')
"""

from __future__ import annotations

from collections.abc import Mapping

from emovox.corpora.base import Corpus, Edition, FileNameError, Utterance
from emovox.corpora.casia import CASIA
from emovox.corpora.cremad import CREMAD
from emovox.corpora.custom import CUSTOM
from emovox.corpora.emodb import EMODB
from emovox.corpora.emovo import EMOVO
from emovox.corpora.esd import ESD
from emovox.corpora.ravdess import SONG, SPEECH
from emovox.corpora.savee import SAVEE
from emovox.corpora.synthetic import SYNTHETIC
from emovox.corpora.tess import TESS

__all__ = ["CORPORA", "Corpus", "Edition", "FileNameError", "Utterance"]

CORPORA: Mapping[str, Corpus] = {
    corpus.name: corpus for corpus in (SPEECH, SONG, TESS, EMODB, ESD, CREMAD, SAVEE, EMOVO, CASIA, CUSTOM, SYNTHETIC)
}
"""Every corpus that emovox reads, by name."""
