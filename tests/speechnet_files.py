"""A tiny Whisper for tests: random weights in the format of the real ones."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder


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
