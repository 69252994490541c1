"""Find pretrained weights: a file, a folder of a Hugging Face model, or the name of one on its hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from emovox.errors import MissingExtraError, ModelError

WEIGHTS_FILE = "model.safetensors"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def find_weights(source: str | os.PathLike[str]) -> Path:
    """Give the safetensors file that `source` names.

    Args:
        source: a ``.safetensors`` file; a folder with a ``model.safetensors``; or, where neither exists, a name such as
            ``openai/whisper-base``. That one is downloaded from the Hugging Face hub, once, into its own cache, whose
            place and behaviour its variables set (``HF_HOME``, ``HF_HUB_OFFLINE``).

    Raises:
        MissingExtraError: if a name of the hub is given and huggingface_hub is not installed.
        ModelError: ``not_found``, if there is no such file, or the hub does not give it.
    """
    path, name = Path(source), os.fspath(source)
    if path.is_dir():
        path /= WEIGHTS_FILE
    if path.is_file():
        return path
    if not _HUB_NAME.fullmatch(name) or name.endswith(".safetensors"):
        raise ModelError(
            "no such weights file",
            code="not_found",
            path=path,
            remedy="Give a .safetensors file, or openai/whisper-base to download it, with --set weights=...",
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise MissingExtraError.for_extra("hub", f"downloading {name}") from error
    try:
        return Path(hf_hub_download(name, WEIGHTS_FILE))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"could not be had from the Hugging Face hub ({str(error).splitlines()[0]})",
            code="not_found",
            path=name,
            remedy="Check the name and the connection, or give a .safetensors file with --set weights=FILE.",
        ) from error
