"""Streams that get used to a voice: against the model's own references, broken off, handed on, refused."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from adaptable import AdaptableModel, adaptable_bytes, write_adaptable_bundle
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from live_server import door_to, serving
from scenes import RATE, Floats, scene
from streaming import HELLO, Json, everything, limit, of_type, opened, talked
from websockets.asyncio.client import connect

from emovox import audio
from emovox.audio import Waveform
from emovox.errors import BundleError, ParameterError
from emovox.inference.adaptation import Parts, Reference
from emovox.inference.bundle import Bundle, BundleMetadata
from emovox.inference.live import LiveRecognizer, Update
from emovox.inference.log_ratios import log_ratios, measured_from, telling, trust
from emovox.inference.pcm import from_pcm16, to_pcm16
from emovox.inference.recognizer import Recognizer
from emovox.inference.running import CLIP_S, HALF_LIFE_S, LARGEST_WEIGHT_S, RunningReference, Voice
from emovox.inference.utterances import Listener, Spoken, Utterance
from emovox.server.app import create_app
from emovox.server.settings import ServerSettings

BLOCK = 3_200


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that can adapt and takes a second at once, so that real utterances have parts."""
    return write_adaptable_bundle(tmp_path_factory.mktemp("model") / "adaptable.onnx", max_seconds=1.0, spread=0.3)


@pytest.fixture(scope="module")
def talk(corpora_dir: Path) -> Floats:
    """Real utterances of two speakers of EmoDB, each three in a row, in 16 bits at 16 kHz."""
    paths = sorted((corpora_dir / "emodb" / "wav").glob("*.opus"))
    chosen = [[path for path in paths if path.name.startswith(speaker)][:3] for speaker in ("03", "08")]
    clips = [audio.load(path, rate=RATE).samples for path in chosen[0] + chosen[1]]
    return from_pcm16(to_pcm16(scene(clips)[0]))


@pytest.fixture
def app(bundle_path: Path, loudness_bundle: Path) -> FastAPI:
    models = (str(bundle_path), str(loudness_bundle))
    return create_app(ServerSettings(models=models, max_streams=4, threads=1))


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    with serving(app) as found:
        yield found


class Running:
    """A running mean of embeddings; the log ratios beside it tell how much of it is trusted."""

    def __init__(self, bundle: Bundle, start: npt.ArrayLike = 0.0, *, weight_s: float = 0.0) -> None:
        self.bundle, self.weight_s = bundle, weight_s
        self.start = np.zeros(bundle.require_adaptable(), np.float32) + np.asarray(start, np.float32)
        self.embedding, self.ratios = np.zeros(len(self.start)), np.zeros(7)

    @property
    def value(self) -> Floats:
        weight_s = self.weight_s or 1.0
        share = trust(self.weight_s / CLIP_S, self.ratios / weight_s, self.bundle.meta.spread)
        return np.asarray(self.start + share * self.embedding / weight_s, np.float32)

    def hear(self, parts: list[Floats], seconds: float) -> Floats:
        """Measure an utterance, then take it in."""
        weights = [len(part) for part in parts]
        measured = np.average([self.bundle.run(part[None], self.value)[0] for part in parts], axis=0, weights=weights)
        plain = np.concatenate([self.bundle.run(part[None], self.start) for part in parts])
        ratios = np.average(log_ratios(plain, self.bundle.meta.neutral or ()), axis=0, weights=weights)
        own = np.average([self.bundle.embed(part[None])[0] for part in parts], axis=0, weights=weights)
        kept = 0.5 ** (seconds / HALF_LIFE_S)
        self.weight_s = kept * self.weight_s + seconds
        self.embedding = kept * self.embedding + seconds * (own - self.start)
        self.ratios = kept * self.ratios + seconds * ratios
        return measured


def by_hand(bundle: Bundle, samples: Floats) -> list[tuple[float, Floats]]:
    """What the graph itself gives with a running reference of embeddings: seconds that it holds, probabilities."""
    running, seconds = Running(bundle), 0.0
    listener = Listener(rate=RATE, moments=False)
    found = []
    for event in [*listener.hear(samples), *listener.finish()]:
        assert isinstance(event, Spoken)
        parts = np.array_split(event.samples, max(1, -(-len(event.samples) // RATE)))
        found.append((seconds, running.hear(parts, event.end_s - event.start_s)))
        seconds += event.end_s - event.start_s
    return found


def assert_by_hand(utterances: list[Json], expected: list[tuple[float, Floats]]) -> None:
    assert len(utterances) == len(expected)
    for found, (seconds, row) in zip(utterances, expected, strict=True):
        assert found["adapted_s"] == pytest.approx(seconds, abs=2e-3)
        np.testing.assert_allclose(list(found["probabilities"].values()), row, atol=1e-5)


# A stream and the graph


def test_a_stream_is_measured_as_the_graph_measures(port: int, bundle_path: Path, talk: Floats) -> None:
    messages, code = asyncio.run(talked(port, to_pcm16(talk), [BLOCK], pause_s=0.005, adapt=True))
    assert code == 1000
    bundle = Bundle.load(bundle_path, threads=1)
    found, expected = of_type(messages, "utterance"), by_hand(bundle, talk)
    assert len(found) == 6
    assert found[0]["adapted_s"] == 0
    assert_by_hand(found, expected)
    plain, _ = asyncio.run(talked(port, to_pcm16(talk), [BLOCK]))
    unadapted = of_type(plain, "utterance")
    assert {item["adapted_s"] for item in unadapted} == {0}
    assert all("reference" not in item for item in unadapted)
    assert found[0]["probabilities"] == pytest.approx(unadapted[0]["probabilities"], abs=1e-5)
    moved = [np.abs(row - list(item["probabilities"].values())).max() for item, (_, row) in
             zip(unadapted[1:], expected[1:], strict=True)]  # fmt: skip
    assert min(moved) > 1e-3


def test_running_results_are_measured_from_what_was_heard_before(port: int, bundle_path: Path, talk: Floats) -> None:
    messages, _ = asyncio.run(talked(port, to_pcm16(talk), [BLOCK], pause_s=0.02, adapt=True))
    recognizer = Recognizer(bundle_path)
    voice = Voice(recognizer.bundle)
    told = 0
    for item in messages:
        if item["type"] == "utterance":
            voice.resume(**item["reference"])
        elif item["type"] == "update":
            assert item["adapted_s"] == pytest.approx(voice.seconds, abs=1e-3)
            if item["probabilities"]:
                length = int(min(item["time_s"] - item["start_s"], 3) / 0.5) * RATE // 2
                parts = recognizer.parts(talk[item["received"] - length : item["received"]], RATE)
                row = voice.measure(parts).tolist()
                assert list(item["probabilities"].values()) == pytest.approx(row, abs=1e-5)
                assert item["emotion"] == max(item["probabilities"], key=item["probabilities"].get)
                told += 1
    assert told >= 10
    assert voice.seconds > 6


def test_the_same_on_this_machine(bundle_path: Path, talk: Floats) -> None:
    recognizer = Recognizer(bundle_path)
    live = LiveRecognizer(recognizer, rate=RATE, adapt=True)
    events = [event for start in range(0, len(talk), BLOCK) for event in live.hear(talk[start : start + BLOCK])]
    events += live.finish()
    found = [event.to_dict() for event in events if isinstance(event, Utterance)]
    assert_by_hand(found, by_hand(recognizer.bundle, talk))
    assert [event.adapted_s for event in events if isinstance(event, Update)][-1] > 6


def test_a_stream_may_start_from_a_reference(bundle_path: Path, talk: Floats) -> None:
    plain = Recognizer(bundle_path)
    embedding = np.array([0.4, -0.3], np.float32)
    reference = Reference(embedding=embedding, clips=5, seconds=17.0, model=plain.bundle.identity)
    running = Running(plain.bundle, embedding, weight_s=5 * CLIP_S)
    live = LiveRecognizer(Recognizer(plain.bundle, adapt=reference), rate=RATE, adapt=True)
    found = [event for event in [*live.hear(talk), *live.finish()] if isinstance(event, Utterance)]
    assert found[0].adapted_s == 17
    listener = Listener(rate=RATE, moments=False)
    for event, item in zip([*listener.hear(talk), *listener.finish()], found, strict=True):
        assert isinstance(event, Spoken)
        parts = np.array_split(event.samples, max(1, -(-len(event.samples) // RATE)))
        wanted = running.hear(parts, event.end_s - event.start_s)
        np.testing.assert_allclose(list(item.probabilities.values()), wanted, atol=1e-5)
    fixed = LiveRecognizer(Recognizer(plain.bundle, adapt=reference), rate=RATE)
    told = [*fixed.hear(talk), *fixed.finish()]
    assert {event.adapted_s for event in told} == {17}


# Broken off, and handed on


def test_a_resumed_stream_still_knows_the_voice(port: int, bundle_path: Path, talk: Floats) -> None:
    data = to_pcm16(talk)
    expected = by_hand(Bundle.load(bundle_path, threads=1), talk)

    async def go_on() -> list[Json]:
        heard: list[Json] = []
        resume: Json = {}
        for share in (0.4, 0.7, 1.0):
            async with opened(port, adapt=True, **resume) as (socket, ready):
                assert ready["resumed"] == bool(resume)
                for place in range(2 * ready["received"], round(share * len(data)), BLOCK):
                    await socket.send(data[place : place + BLOCK])
                if share == 1:
                    await socket.send('{"type": "end"}')
                else:
                    await asyncio.sleep(0.2)
                    socket.transport.abort()
                heard += [message async for message in everything(socket)]
                resume = {"resume": ready["session"], "utterances": len(of_type(heard, "utterance"))}
        return heard

    assert_by_hand(of_type(asyncio.run(go_on()), "utterance"), expected)


def test_a_later_stream_goes_on_from_what_an_earlier_one_knew(port: int, talk: Floats) -> None:
    whole, _ = asyncio.run(talked(port, to_pcm16(talk), [BLOCK], adapt=True))
    whole = of_type(whole, "utterance")
    cut = round((whole[2]["end_s"] + 0.5) * RATE)
    first, _ = asyncio.run(talked(port, to_pcm16(talk[:cut]), [BLOCK], adapt=True))
    first = of_type(first, "utterance")
    assert len(first) == 3
    again, _ = asyncio.run(talked(port, to_pcm16(talk[cut:]), [BLOCK], adapt=first[-1]["reference"]))
    for found, expected in zip(of_type(again, "utterance"), whole[3:], strict=True):
        # Where an utterance begins may differ by a chunk of the detector.
        assert found["adapted_s"] == pytest.approx(expected["adapted_s"], abs=0.15)
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=0.02)
    alone, _ = asyncio.run(talked(port, to_pcm16(talk[cut:]), [BLOCK], adapt=True))
    assert of_type(alone, "utterance")[0]["adapted_s"] == 0


def test_the_python_client_keeps_the_voice_when_a_session_is_lost(app: FastAPI, port: int, talk: Floats) -> None:
    from emovox.client import AsyncClient

    limit(app, resume_s=0.0)

    async def listen() -> tuple[list[Utterance], int]:
        async with door_to(port) as door:
            client = AsyncClient(f"http://127.0.0.1:{door.port}")
            blocks = [talk[start : start + 1_600] for start in range(0, len(talk), 1_600)]
            found = []
            async for event in client.stream(blocks, rate=RATE, adapt=True, model="adaptable"):
                if isinstance(event, Utterance):
                    found.append(event)
                    if len(found) == 2:
                        door.slam()
            await client.close()
            return found, door.opened

    found, doors = asyncio.run(listen())
    assert doors == 2
    seconds = [item.adapted_s for item in found]
    assert seconds[0] == 0
    assert seconds == sorted(set(seconds))
    assert seconds[2] == pytest.approx(sum(item.end_s - item.start_s for item in found[:2]), abs=1e-2)


# Refused


async def refusal(port: int, **hello: Any) -> tuple[str, int | None, str]:
    async with connect(f"ws://127.0.0.1:{port}/v1/stream") as socket:
        await socket.send(json.dumps(HELLO | hello))
        reply = [message async for message in everything(socket)][-1]
        return reply["code"], socket.close_code, reply.get("remedy", "")


KNOWN = {"seconds": 3.0, "weight_s": 3.0, "log_ratios": {"angry": 1.0}}


@pytest.mark.parametrize(
    ("hello", "code", "close"),
    [
        ({"adapt": True, "model": "loudness"}, "cannot_adapt", 4422),
        ({"adapt": KNOWN, "model": "loudness"}, "cannot_adapt", 4422),
        ({"adapt": KNOWN}, "other_model", 4422),
        ({"adapt": "yes"}, "bad_message", 4400),
        ({"adapt": 1}, "bad_message", 4400),
        ({"adapt": {}}, "bad_message", 4400),
        ({"adapt": KNOWN | {"seconds": -1}}, "bad_message", 4400),
        ({"adapt": KNOWN | {"log_ratios": {"angry": 1e300}}}, "bad_message", 4400),
    ],
)
def test_what_cannot_be_adapted_is_refused_at_once(port: int, hello: Json, code: str, close: int) -> None:
    found, closed, remedy = asyncio.run(refusal(port, **hello))
    assert (found, closed) == (code, close)
    assert remedy or code == "bad_message"


def test_a_model_that_says_nothing_of_its_default_reference(tmp_path: Path) -> None:
    path = write_adaptable_bundle(tmp_path / "old.onnx", neutral=None)
    with serving(create_app(ServerSettings(models=(str(path),)))) as port:
        assert asyncio.run(refusal(port, adapt=True))[:2] == ("cannot_adapt", 4422)
        messages, code = asyncio.run(talked(port, b"", [2]))
        assert (messages[0]["type"], code) == ("ready", 1000)
    with pytest.raises(BundleError) as caught:
        LiveRecognizer(Recognizer(path), rate=RATE, adapt=True)
    assert caught.value.code == "cannot_adapt"


# Log ratios


rows = (
    st.lists(st.floats(1e-6, 1), min_size=7, max_size=7)
    .map(lambda row: np.array(row) / np.sum(row))
    .filter(lambda row: bool(telling(row)))
)


@given(st.lists(rows, min_size=1, max_size=5), rows)
def test_what_is_measured_from_itself_is_neutral(probabilities: list[Floats], neutral: Floats) -> None:
    ratios = log_ratios(probabilities, neutral)
    np.testing.assert_allclose(ratios.sum(axis=1), 0, atol=1e-9)
    for row, ratio in zip(probabilities, ratios, strict=True):
        np.testing.assert_allclose(measured_from(row[None], ratio), neutral[None], atol=1e-6)
        np.testing.assert_allclose(measured_from(row[None], np.zeros(7)), row[None], atol=1e-6)


@given(st.lists(st.tuples(rows, st.floats(0.3, 30)), max_size=8))
def test_a_voice_survives_json(heard: list[tuple[Floats, float]]) -> None:
    bundle = Bundle(adaptable_bytes(), threads=1)
    voice, other = Voice(bundle), Voice(bundle)
    for row, seconds in heard:
        voice.hear(Parts(row[None].astype(np.float32), np.ones(1)), seconds)
    other.resume(**json.loads(json.dumps(voice.to_dict())))
    probe = Parts(np.array([[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]], np.float32), np.ones(1))
    np.testing.assert_allclose(other.measure(probe), voice.measure(probe), atol=1e-4)
    assert other.seconds == pytest.approx(voice.seconds, abs=1e-3)


def test_a_voice_is_not_learned_from_other_sounds() -> None:
    bundle = Bundle(adaptable_bytes(), threads=1)
    one, two = Voice(bundle), Voice(bundle)
    said, tune = [0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], [1 / 7] * 7
    one.hear(Parts(np.array([said], np.float32), np.ones(1)), 3.0)
    two.hear(Parts(np.array([tune], np.float32), np.ones(1)), 9.0)
    assert two.seconds == 0
    two.hear(Parts(np.array([tune, said], np.float32), np.array([1.0, 3.0])), 4.0)
    assert two.to_dict() == one.to_dict()
    np.testing.assert_allclose(two.measure(Parts(np.array([tune], np.float32), np.ones(1))), tune, atol=1e-7)


def test_no_voice_weighs_more_than_a_stream_can_have_heard() -> None:
    bundle = Bundle(adaptable_bytes(), threads=1)
    running = RunningReference(2)
    for _ in range(5_000):
        running.update([1.0, -1.0], 3.0)
    assert running.weight_s == pytest.approx(LARGEST_WEIGHT_S, rel=0.01)
    voice = Voice(bundle)
    voice.resume(seconds=1e9, weight_s=1e9, log_ratios=dict.fromkeys(voice.labels, 0.0))
    assert voice.to_dict()["weight_s"] == pytest.approx(LARGEST_WEIGHT_S, abs=1e-3)
    with pytest.raises(ParameterError):
        voice.resume(seconds=1, weight_s=1, log_ratios=dict.fromkeys(voice.labels, np.nan))
    with pytest.raises(ParameterError):
        running.resume([0.0], weight_s=1, seconds=1)


# What a bundle says of its default reference


def test_neutral_is_what_the_graph_gives_of_an_embedding_of_zero() -> None:
    bundle = Bundle(adaptable_bytes(), threads=1)
    clips = np.random.default_rng(0).normal(scale=0.1, size=(3, 1_600)).astype(np.float32)
    assert bundle.meta.neutral is not None
    np.testing.assert_allclose(bundle.run(clips, bundle.embed(clips)), [bundle.meta.neutral] * 3, atol=1e-6)
    again = BundleMetadata.from_json(bundle.meta.to_json())
    assert again == bundle.meta
    labels = ("a", "b")
    for wrong in ((0.5,), (0.5, 0.6), (1.0, 0.0), (0.5, np.nan), [0.5, 0.5], "ab", (0.5, "0.5")):
        with pytest.raises(ParameterError, match="neutral"):
            BundleMetadata(name="x", labels=labels, input="waveform", sample_rate=16_000, neutral=wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="neutral"):
        BundleMetadata(name="x", labels=labels, input="classic", neutral=(0.5, 0.5))


def test_speechnet_tells_it_when_it_is_trained(tmp_path: Path) -> None:
    from speechnet_files import tiny_whisper

    from emovox.evaluation.training import _with_what_was_learned
    from emovox.models.export import bundle_bytes
    from emovox.models.speechnet import SpeechNet

    tiny_whisper(tmp_path / "tiny.safetensors")
    random = np.random.default_rng(0)
    sounds = [random.normal(scale=0.1 + number % 3, size=8_000).astype(np.float32) for number in range(12)]
    emotions = [("angry", "sad", "happy")[number % 3] for number in range(12)]
    model = SpeechNet(weights=tmp_path / "tiny.safetensors", pooled_blocks=(1, 2), units=256, views=0, cache_dir=None)
    model.fit(sounds, emotions, groups=[number // 3 for number in range(12)])
    labels = ("sad", "angry", "happy")  # in another order than the model's own
    plain = BundleMetadata(name="x", labels=labels, input="waveform", sample_rate=16_000)
    bundle = Bundle(bundle_bytes(model, _with_what_was_learned(plain, model)), threads=1)
    clips = np.stack(sounds[:2])
    assert bundle.meta.neutral is not None
    np.testing.assert_allclose(bundle.run(clips, bundle.embed(clips)), [bundle.meta.neutral] * 2, atol=1e-5)
    assert len(set(bundle.meta.neutral)) == 3
    assert bundle.meta.spread == model.spread_
    assert model.spread_ > 0
    for wrong in (0.0, -1.0, np.nan, "1", 10**400):
        with pytest.raises(ParameterError, match="spread"):
            dataclasses.replace(plain, spread=wrong)


def test_a_bundle_that_cannot_adapt_has_no_neutral_probabilities() -> None:
    from bundles import LoudnessModel, waveform_meta

    from emovox.models.export import bundle_bytes

    with pytest.raises(BundleError, match="does not fit"):
        Bundle(bundle_bytes(LoudnessModel(), waveform_meta(neutral=(1 / 7,) * 7)))


def test_references_of_sets_and_streams_agree() -> None:
    """Three clips of 3 s each, none forgotten yet to speak of: as much of the mean of a set."""
    bundle = Bundle(adaptable_bytes(spread=10.0), threads=1)
    clips = np.random.default_rng(0).normal(scale=0.1, size=(3, 8_000)).astype(np.float32)
    probabilities, embeddings = bundle.run_and_embed(clips)
    voice = Voice(bundle)
    for row in probabilities:
        voice.hear(Parts(row[None], np.ones(1)), CLIP_S)
    found = Recognizer(bundle).adapt([Waveform(clip, RATE) for clip in clips])
    ratios = log_ratios(probabilities, bundle.meta.neutral or ()).mean(axis=0)
    share = trust(3, ratios, 10.0)
    assert share < 0.8
    np.testing.assert_allclose(found.embedding, share * embeddings.mean(axis=0), rtol=1e-5)
    expected = AdaptableModel().expected(clips[0], found.embedding)
    np.testing.assert_allclose(voice.measure(Parts(probabilities[:1], np.ones(1))), expected, atol=5e-3)
