"""For tests of speechnet: a tiny Whisper with random weights in the format of the real ones, and what it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

Clips = tuple[list[np.ndarray], np.ndarray, np.ndarray]
"""Sounds, emotions, speakers."""


def tiny_whisper(path: Path, *, blocks: int = 2) -> WhisperEncoder:
    """Save the encoder of a Whisper of width 64 with one attention head; give Hugging Face's own module."""
    torch.manual_seed(0)
    config = WhisperConfig(d_model=64, encoder_layers=blocks, encoder_attention_heads=1, encoder_ffn_dim=256)
    encoder = WhisperEncoder(config).eval()
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    save_file({f"model.encoder.{name}": value.contiguous() for name, value in encoder.state_dict().items()}, path)
    return encoder


def tones() -> Clips:
    """Twenty-four tones of three speakers: high ones are angry, low ones sad."""
    rng = np.random.default_rng(0)
    sounds, emotions, speakers = [], [], []
    for number in range(24):
        angry, speaker = number % 2, number % 3
        pitch = (400 if angry else 150) * (1 + 0.1 * speaker)
        time = np.arange(rng.integers(6_000, 12_000)) / 16_000
        sounds.append((np.sin(2 * np.pi * pitch * time) + 0.05 * rng.normal(size=time.size)).astype(np.float32))
        emotions.append("angry" if angry else "sad")
        speakers.append(f"speaker-{speaker}")
    return sounds, np.array(emotions), np.array(speakers)
