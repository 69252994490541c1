"""The list of the corpora that emovox reads: a new one is a file of its own and an entry here."""

from __future__ import annotations

from collections.abc import Mapping

from emovox.corpora.base import Corpus
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

CORPORA: Mapping[str, Corpus] = {
    corpus.name: corpus for corpus in (SPEECH, SONG, TESS, EMODB, ESD, CREMAD, SAVEE, EMOVO, CASIA, CUSTOM, SYNTHETIC)
}
"""Every corpus that emovox reads, by name."""
