"""From one checkpoint layout to another."""

from __future__ import annotations

import os
from pathlib import Path

from mast3r_model.checkpoints.loading import load_model
from mast3r_model.checkpoints.saving import StoredDtype, save_pretrained, save_pth
from mast3r_model.errors import InputError


def convert(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *, dtype: StoredDtype = "fp32"
) -> Path:
    """Rewrite a checkpoint: upstream's ``.pth`` to the hub's folder layout, or back.

    Args:
        source: anything that `load_model` takes.
        destination: a file ending in ``.pth`` for upstream's layout, else the folder to write config.json and
            model.safetensors into. Existing files are replaced.
        dtype: "fp32", or "fp16" (folders only).

    Returns:
        The destination.

    Raises:
        CheckpointError: the source cannot be read.
        OutputError: the destination cannot be written; nothing half-written is left.
    """
    destination = Path(destination)
    to_pth = destination.suffix == ".pth"
    if destination.suffix in (".safetensors", ".bin", ".pt", ".ckpt"):
        raise InputError(
            f"cannot write a file {destination.name}", hint="give a folder, or a file ending in .pth"
        )
    if to_pth and dtype != "fp32":
        raise InputError("upstream's .pth layout holds float32 only", hint="give a folder for fp16")
    model = load_model(source, device="cpu", for_inference=False)
    return save_pth(model, destination) if to_pth else save_pretrained(model, destination, dtype=dtype)
