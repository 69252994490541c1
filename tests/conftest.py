"""Fixtures that tests share: real recordings where they are at hand, sounds and studies made on the spot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

if TYPE_CHECKING:
    from fastapi import FastAPI

    from emovox.studies.reading import StudyResults
    from emovox.studies.report.elements import Section

CORPORA = Path(__file__).parents[2] / "shared" / "corpora"
WEIGHTS = Path(__file__).parents[2] / "shared" / "weights" / "whisper-base-encoder-3.safetensors"


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """Folder with the real recordings of EmoDB, RAVDESS speech and TESS."""
    if not CORPORA.is_dir():
        pytest.skip("real recordings (../shared/corpora) are not at hand")
    return CORPORA


@pytest.fixture(scope="session")
def encoder_weights() -> Path:
    """The pretrained encoder blocks."""
    if not WEIGHTS.is_file():
        pytest.skip("encoder weights (../shared/weights) are not at hand")
    return WEIGHTS


@pytest.fixture(scope="session")
def voice() -> npt.NDArray[np.float32]:
    """Two seconds of a voice-like sound at 16 kHz: a gliding harmonic tone with noise, peak 0.5."""
    time = np.arange(32_000) / 16_000
    phase = 2 * np.pi * np.cumsum(150 + 40 * np.sin(2 * np.pi * 1.5 * time)) / 16_000
    tone = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    sound = tone * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)) + 0.01 * np.random.default_rng(0).normal(size=time.size)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


@pytest.fixture(scope="session")
def clip(voice: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A real utterance at 16 kHz where the corpora are at hand, otherwise the made voice."""
    if not CORPORA.is_dir():
        return voice
    samples, _ = soundfile.read(CORPORA / "emodb" / "wav" / "03a01Fa.opus", dtype="float32")
    return samples


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A made-up study of every kind of part, all of it finished."""
    import reported_study

    return reported_study.whole(tmp_path_factory.mktemp("whole") / "results")


@pytest.fixture(scope="session")
def whole_report(whole_study: StudyResults) -> Mapping[str, Section]:
    """The sections of `whole_study`, by the name of the module that builds them, in their order."""
    return _report(whole_study)


@pytest.fixture(scope="session")
def partial_study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A made-up study of many kinds of parts of which much is missing, see `reported_study.partial`."""
    import reported_study

    return reported_study.partial(tmp_path_factory.mktemp("partial") / "results")


@pytest.fixture(scope="session")
def partial_report(partial_study: StudyResults) -> Mapping[str, Section]:
    """The sections of `partial_study`, as those of `whole_report`."""
    return _report(partial_study)


def _report(study: StudyResults) -> Mapping[str, Section]:
    from emovox.studies.report import sections

    kinds = {plan.part.kind for plan in study.plans}
    parts = [name for name in sections.BUILDERS if name in kinds]
    names = ["gap", *parts, "significance", "groups", "differences", "origin"]
    return dict(zip(names, sections.sections(study, source="studies/made-up.toml"), strict=True))


@pytest.fixture(scope="session")
def loudness_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle that judges sound by its loudness."""
    from bundles import write_waveform_bundle

    return write_waveform_bundle(tmp_path_factory.mktemp("model") / "loudness.onnx")


@pytest.fixture
def live_app(loudness_bundle: Path) -> FastAPI:
    """A service for a few live streams."""
    from emovox.server.app import create_app
    from emovox.server.settings import ServerSettings

    return create_app(ServerSettings(models=(str(loudness_bundle),), max_streams=4, threads=1))


@pytest.fixture
def live_port(live_app: FastAPI) -> Iterator[int]:
    """Where `live_app` listens."""
    from live_server import serving

    with serving(live_app) as port:
        yield port


@pytest.fixture(scope="session")
def spoken(corpora_dir: Path) -> npt.NDArray[np.float32]:
    """Three real utterances with pauses and the noise of a room, in 16 bits at 16 kHz."""
    from scenes import real_clips, scene

    from emovox.inference.pcm import from_pcm16, to_pcm16

    return from_pcm16(to_pcm16(scene(real_clips(corpora_dir, "emodb", 3, seed=2))[0]))
