"""The Python client against a real service."""

from __future__ import annotations

import asyncio
import io
import pickle
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import soundfile
from bundles import write_waveform_bundle
from live_server import serving
from scenes import RATE, Floats, save, two_sentences

from emovox.audio import Waveform
from emovox.client import AsyncClient, Client, Failure, Prediction, ServiceError, Update, Utterance
from emovox.errors import AudioError, ParameterError
from emovox.inference.pcm import to_pcm16
from emovox.inference.recognizer import Recognizer
from emovox.server.app import create_app
from emovox.server.keys import KeyRing
from emovox.server.settings import ServerSettings


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_waveform_bundle(tmp_path_factory.mktemp("bundle") / "m.onnx")


@pytest.fixture(scope="module")
def url(bundle: Path) -> Iterator[str]:
    with serving(create_app(ServerSettings(models=(str(bundle),), threads=1))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def samples(corpora_dir: Path) -> Floats:
    return two_sentences(corpora_dir)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, samples: Floats) -> Path:
    return save(tmp_path_factory.mktemp("talk") / "talk.wav", samples)


def assert_same(found: list[Utterance], expected: list[Utterance]) -> None:
    assert len(expected) >= 2
    assert [(item.start_s, item.end_s, item.emotion) for item in found] == [
        (round(item.start_s, 3), round(item.end_s, 3), item.emotion) for item in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)


def test_files(client: Client, bundle: Path, talk: Path) -> None:
    expected = Recognizer(bundle).predict(talk)
    with talk.open("rb") as file:
        for source in (talk, str(talk), talk.read_bytes(), file, io.BytesIO(talk.read_bytes())):
            found = client.predict(source)
            assert found.emotion == expected.emotion
            assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    good, bad = client.predict_many([talk, b"no sound"])
    assert isinstance(good, Prediction)
    assert good.path == "talk.wav"
    assert isinstance(bad, Failure)
    assert bad.error.code == "not_audio"
    assert [item.error.code for item in client.predict_many([b"no", b"sound"]) if isinstance(item, Failure)] == [
        "not_audio",
        "not_audio",
    ]
    assert_same(client.utterances(talk), list(Recognizer(bundle).utterances(talk)))
    (model,) = client.models()
    assert model["name"] == Recognizer(bundle).meta.name


def test_timeline(client: Client, bundle: Path, talk: Path) -> None:
    from emovox import timeline

    found = list(client.timeline(talk, window_s=1, hop_s=0.5))
    expected = list(timeline(talk, Recognizer(bundle), window_s=1, hop_s=0.5))
    assert [item.start_s for item in found] == [item.start_s for item in expected]
    assert [item.emotion for item in found] == [item.emotion for item in expected]
    with pytest.raises(ServiceError) as caught:
        list(client.timeline(b"no sound"))
    assert (caught.value.code, caught.value.status) == ("not_audio", 415)


def test_refusals(client: Client, url: str, talk: Path, tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as caught:
        client.predict(b"no sound")
    assert (caught.value.code, caught.value.status) == ("not_audio", 415)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.status) == (str(caught.value), 415)
    with pytest.raises(ServiceError, match="no model"):
        client.predict(talk, model="none")
    with pytest.raises(ServiceError, match="no model"):
        list(client.stream([], rate=RATE, model="none"))
    with pytest.raises(AudioError):
        client.predict(tmp_path / "none.wav")
    with pytest.raises(ParameterError):
        Client("ftp://example.org")
    with Client("http://127.0.0.1:9") as nobody:
        with pytest.raises(ServiceError) as caught:
            nobody.predict(talk)
        assert caught.value.code == "unreachable"
        with pytest.raises(ServiceError) as caught:
            list(nobody.stream([], rate=RATE))
        assert caught.value.code == "unreachable"


def test_keys(bundle: Path, talk: Path, tmp_path: Path) -> None:
    key = KeyRing(tmp_path / "keys.json").create("me")
    settings = ServerSettings(models=(str(bundle),), require_keys=True, keys_file=tmp_path / "keys.json")
    with serving(create_app(settings)) as port:
        url = f"http://127.0.0.1:{port}"
        with Client(url, key=key) as client:
            assert client.predict(talk).emotion
            assert list(client.stream([bytes(8_000)], rate=RATE))
        with Client(url) as stranger:
            for attempt in (stranger.models, lambda: list(stranger.stream([], rate=RATE))):
                with pytest.raises(ServiceError) as caught:
                    attempt()
                assert (caught.value.code, caught.value.status) == ("unauthorized", 401)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_stream(client: Client, bundle: Path, samples: Floats, as_bytes: bool) -> None:
    blocks = [samples[start : start + 1_000] for start in range(0, len(samples), 1_000)]
    events = list(client.stream([to_pcm16(block) for block in blocks] if as_bytes else blocks, rate=RATE))
    expected = list(Recognizer(bundle).utterances(Waveform(samples, RATE)))
    assert_same([event for event in events if isinstance(event, Utterance)], expected)
    assert sum(isinstance(event, Update) for event in events) == len(samples) * 4 // RATE


def test_stream_in_an_event_loop_and_live(url: str, bundle: Path, samples: Floats) -> None:
    async def microphone() -> AsyncIterator[Floats]:
        for start in range(0, len(samples), 4_000):
            yield samples[start : start + 4_000]
            await asyncio.sleep(0.05)

    async def listen() -> list[Update | Utterance]:
        async with AsyncClient(url) as client:
            assert (await client.predict(to_wav(samples))).emotion
            assert [item async for item in client.timeline(to_wav(samples))]
            assert (await client.models())[0]["default"]
            assert len(await client.utterances(to_wav(samples))) >= 2
            return [event async for event in client.stream(microphone(), rate=RATE)]

    events = asyncio.run(listen())
    assert any(event.probabilities for event in events if isinstance(event, Update))
    expected = list(Recognizer(bundle).utterances(Waveform(samples, RATE)))
    assert_same([event for event in events if isinstance(event, Utterance)], expected)


def to_wav(samples: Floats) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()


def test_who_has_seen_enough_may_leave(client: Client, samples: Floats) -> None:
    def endless() -> Iterator[Floats]:
        while True:
            yield samples

    for _ in range(3):
        events = client.stream(endless(), rate=RATE)
        assert isinstance(next(events), Update)
        events.close()  # type: ignore[attr-defined]


def test_what_the_microphone_raises_is_raised(client: Client) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(16_000)
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        list(client.stream(broken(), rate=RATE))
