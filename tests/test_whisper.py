"""The trunk against Hugging Face's Whisper, and the rounding of its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from speechnet_files import tiny_whisper
from transformers import WhisperFeatureExtractor

from emovox.audio import load
from emovox.errors import ModelError
from emovox.evaluation.conditions import degrade
from emovox.models.whisper import (
    LogMelFrontEnd,
    SmallTrunk,
    digest,
    load_small_trunk,
    load_trunk,
    round_weights,
    sounding,
)


@pytest.fixture
def half_minute(voice: np.ndarray) -> np.ndarray:
    return np.resize(voice, 480_000)


def test_spectrogram_equals_transformers(half_minute: np.ndarray) -> None:
    loudest = half_minute / np.abs(half_minute).max()  # the front end scales to a peak of 1
    expected = WhisperFeatureExtractor(feature_size=80)(loudest, sampling_rate=16_000)["input_features"][0]
    found = LogMelFrontEnd()(torch.from_numpy(half_minute)[None])[0].numpy()
    assert found.shape == expected.shape == (80, 3_000)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_hidden_states_equal_transformers(half_minute: np.ndarray, tmp_path: Path) -> None:
    encoder, active = tiny_whisper(tmp_path / "tiny.safetensors"), []
    before: list[torch.Tensor] = []
    for layer in encoder.layers:
        layer.final_layer_norm.register_forward_pre_hook(lambda _, given: before.append(given[0]))
        layer.fc2.register_forward_pre_hook(lambda _, given: active.append(given[0]))
    trunk = load_trunk(tmp_path / "tiny.safetensors", blocks=2, weight_bits=None)
    waveform = torch.from_numpy(half_minute)[None]
    with torch.inference_mode():
        expected = encoder(trunk.front_end(waveform), output_hidden_states=True).hidden_states
        attended, found, units, kept = trunk(waveform)
    # The last of theirs has passed a final normalisation that the trunk leaves out.
    np.testing.assert_allclose(found[0].numpy(), expected[1].numpy(), atol=2e-4)
    assert len(attended) == len(found) == len(units) == 2
    assert bool(kept.all())
    for one, other in zip([*attended, *units], [*before, *active], strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=2e-4)


def test_short_clips_and_level(voice: np.ndarray, tmp_path: Path) -> None:
    tiny_whisper(tmp_path / "tiny.safetensors")
    trunk = load_trunk(tmp_path / "tiny.safetensors", blocks=1)
    with torch.inference_mode():
        assert trunk(torch.from_numpy(voice[:1_600])[None])[0][0].shape == (1, 5, 64)
        loud, soft = (trunk(torch.from_numpy(voice * gain)[None])[0][0] for gain in (np.float32(1.5), np.float32(0.01)))
    np.testing.assert_allclose(loud.numpy(), soft.numpy(), atol=1e-3)


def test_quiet_ends_are_as_good_as_cut_off(voice: np.ndarray, tmp_path: Path) -> None:
    tiny_whisper(tmp_path / "tiny.safetensors")
    trunk = load_trunk(tmp_path / "tiny.safetensors", blocks=2)
    fade = np.zeros(3_200, np.float32)
    clip = np.concatenate([fade, voice[:16_000], fade])
    longer = np.concatenate([np.zeros(6_400, np.float32), clip, np.zeros(12_800, np.float32)])
    with torch.inference_mode():
        (_, states, _, kept), (_, others, _, kept_others) = (
            trunk(torch.from_numpy(sound)[None]) for sound in (clip, longer)
        )
    first, second = kept[0] > 0, kept_others[0] > 0
    assert int(torch.nonzero(second)[0]) == int(torch.nonzero(first)[0]) + 20  # 0.4 s in steps of 20 ms
    for one, other in zip(states, others, strict=True):
        np.testing.assert_allclose(other[0, second].numpy(), one[0, first].numpy(), atol=1e-4)


def test_pauses_and_noise_are_kept(voice: np.ndarray) -> None:
    front_end = LogMelFrontEnd()
    spoken = np.concatenate([voice[:8_000], np.zeros(8_000, np.float32), voice[:8_000]])
    where = torch.nonzero(sounding(front_end(torch.from_numpy(spoken)[None]))[0])[:, 0]
    assert len(where) == int(where[-1] - where[0]) + 1
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    assert bool(sounding(front_end(torch.from_numpy(noise)[None])).all())
    assert bool(sounding(front_end(torch.zeros(1, 4_800))).all())  # silence has no loud part: nothing is left out


@pytest.mark.parametrize("snr_db", [10.0, 20.0])
def test_noise_before_and_after_the_words_is_left_out(voice: np.ndarray, snr_db: float) -> None:
    front_end = LogMelFrontEnd()
    second = np.zeros(16_000, np.float32)
    alone = np.concatenate([second, voice, second])
    noise = np.random.default_rng(1).normal(size=len(alone)).astype(np.float32)
    noise *= np.sqrt(np.mean(voice**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    quiet, noisy = (
        torch.nonzero(sounding(front_end(torch.from_numpy(clip)[None]))[0])[:, 0] for clip in (alone, alone + noise)
    )
    assert len(quiet) < len(alone) // 320 - 80  # of the two seconds at most 0.4 stay, in steps of 20 ms
    assert abs(int(noisy[0] - quiet[0])) <= 25
    assert abs(int(noisy[-1] - quiet[-1])) <= 25


def test_babble_around_the_words_of_actors_is_left_out_of_many_recordings(corpora_dir: Path) -> None:
    front_end = LogMelFrontEnd()
    kept = []
    for actor, other in ((1, 2), (20, 9), (5, 6)):
        crowd, spoken = (
            [load(path).samples for path in sorted((corpora_dir / "ravdess" / f"Actor_{one:02}").glob(pattern))[:6]]
            for one, pattern in ((other, "*"), (actor, "03-01-0?-02-01-01-*"))
        )
        noisy = [degrade(clip, "babble-10db", seed=seed, babble=crowd) for seed, clip in enumerate(spoken)]
        kept.append(
            [[float(sounding(front_end(torch.from_numpy(x)[None])).mean()) for x in s] for s in (spoken, noisy)]
        )
    clean, noisy_share = np.concatenate(kept, axis=1)
    assert clean.mean() < 0.7
    assert noisy_share.mean() < 0.9  # 1.0 where only quiet is left out


@given(st.integers(2, 8), st.integers(0, 10_000))
def test_rounded_weights_lie_on_their_grid(bits: int, seed: int) -> None:
    weights = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 7)))
    rounded = round_weights(weights, bits=bits)
    levels = 2 ** (bits - 1) - 1
    steps = rounded * levels / rounded.abs().amax(dim=1, keepdim=True)
    assert torch.allclose(steps, steps.round(), atol=1e-9)
    scale = weights.abs().amax(dim=1, keepdim=True) / levels
    plain = (weights / scale).round() * scale
    missed, at_most = ((one - weights).square().sum(dim=1) for one in (rounded, plain))
    assert bool((missed <= at_most + 1e-12).all())
    if bits == 8:
        assert torch.equal(rounded, plain)
    assert torch.allclose(round_weights(rounded, bits=bits), rounded)


def test_the_small_trunk_is_the_beginning_of_transformers(half_minute: np.ndarray, tmp_path: Path) -> None:
    encoder = tiny_whisper(tmp_path / "tiny.safetensors")
    block, seen = encoder.layers[0], {}
    block.final_layer_norm.register_forward_pre_hook(lambda _, given: seen.update(attended=given[0]))
    block.fc2.register_forward_pre_hook(lambda _, given: seen.update(units=given[0]))
    whole = {name: value for name, value in encoder.state_dict().items() if not name.startswith("layers.1")}
    trunk = SmallTrunk(width=64, heads=1, units=100).eval()
    exact = {name: value[:100] if "fc1" in name else value for name, value in whole.items()}
    trunk.load_state_dict({name: exact[name] for name in trunk.state_dict()})
    with torch.inference_mode():
        encoder(trunk.front_end(torch.from_numpy(half_minute)[None]))
        (found,), no_states, (units,), kept = trunk(torch.from_numpy(half_minute)[None])
    assert no_states == []
    assert units.shape == (1, 1_500, 100)
    assert bool(kept.all())
    np.testing.assert_allclose(found[0].numpy(), seen["attended"][0].numpy(), atol=2e-4)
    np.testing.assert_allclose(units[0].numpy(), seen["units"][0, :, :100].numpy(), atol=2e-4)


def test_pooling_takes_means_of_what_counts(voice: np.ndarray, tmp_path: Path) -> None:
    tiny_whisper(tmp_path / "tiny.safetensors")
    trunk = load_trunk(tmp_path / "tiny.safetensors", blocks=2)
    clips = torch.from_numpy(np.stack([np.pad(voice[:16_000], (16_000, 8_000)), np.pad(voice[:32_000], (0, 8_000))]))
    with torch.inference_mode():
        heard = trunk(clips)
        one, two = (trunk.pool(clips, *chosen).numpy() for chosen in (((2,), 3), ((1, 2), 1)))
    assert not bool(heard.kept.all())

    def mean(steps: torch.Tensor) -> np.ndarray:
        rows = zip(steps.numpy(), heard.kept.numpy(), strict=True)
        return np.stack([clip[counts > 0].mean(axis=0) for clip, counts in rows])

    attended = [mean(steps) for steps in heard.attended]
    first, second = (mean(steps) for steps in heard.states)
    units = [mean(steps) for steps in heard.units]
    expected = np.concatenate([*attended, second, *(every[:, :3] for every in units)], axis=1)
    np.testing.assert_allclose(one, expected, atol=1e-5)
    expected = np.concatenate([*attended, first, second, *(every[:, :1] for every in units)], axis=1)
    np.testing.assert_allclose(two, expected, atol=1e-5)


def test_the_small_trunk_has_few_bits_and_units(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    encoder = tiny_whisper(path)
    trunk = load_small_trunk(path, units=40)
    for name, value in trunk.named_parameters():
        wanted = encoder.state_dict()[name][: len(value)]
        if value.ndim > 1:
            few = name == "conv2.weight" or "self_attn" in name
            assert torch.equal(value, round_weights(wanted, bits=4 if few else 8)), name
            assert all(len(row.unique()) <= 15 for row in value.flatten(1)) or not few
        else:
            assert torch.equal(value, wanted), name
    for units in (0, 257):
        with pytest.raises(ModelError, match=f"256 units, {units} are wanted"):
            load_small_trunk(path, units=units)


def test_digest_sees_every_value(tmp_path: Path) -> None:
    tiny_whisper(tmp_path / "tiny.safetensors")
    trunk = load_trunk(tmp_path / "tiny.safetensors", blocks=1)
    before = digest(trunk.state_dict())
    assert before == digest(trunk.state_dict())
    trunk.conv1.bias.data[3] += 1e-3
    assert digest(trunk.state_dict()) != before


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such weights") as missing:
        load_trunk(tmp_path / "none.safetensors")
    assert missing.value.remedy
    (tmp_path / "noise.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00notjson!")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        load_trunk(tmp_path / "noise.safetensors")
    save_file({"decoder.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="no Whisper encoder"):
        load_trunk(tmp_path / "other.safetensors")
    tiny_whisper(tmp_path / "tiny.safetensors")
    with pytest.raises(ModelError, match="2 encoder blocks, 3 are wanted"):
        load_trunk(tmp_path / "tiny.safetensors", blocks=3)


def test_real_weights_have_three_blocks(encoder_weights: Path) -> None:
    trunk = load_trunk(encoder_weights)
    assert len(trunk.layers) == 3
    assert trunk.width == 512
    assert not any(parameter.requires_grad for parameter in trunk.parameters())
