"""What a checkpoint holds, told without loading its weights."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mast3r_model.checkpoints.locations import local_path, locate
from mast3r_model.checkpoints.naming import match_keys
from mast3r_model.checkpoints.reader import CROCO, StoredModel, read_checkpoint
from mast3r_model.config import ModelConfig


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint described.

    Attributes:
        path: the file of the weights.
        file_bytes: its size.
        architecture: class of the network, None if the file does not say.
        config: of a stereo network, as stored.
        keywords: of the constructor, as stored.
        parameters: distinct ones; of an unnamed network, the elements of all tensors.
        keys: entries of the state dict.
        dtypes: of the stored tensors, "float32" and so on, sorted.
        training: names of what else the file holds, such as "epoch" or "optimizer".
        epoch: last epoch trained, if the file says.
        licence: of the weights, if a preset or the model card beside them says.
    """

    path: Path
    file_bytes: int
    architecture: str | None
    config: ModelConfig | None
    keywords: Mapping[str, Any]
    parameters: int
    keys: int
    dtypes: tuple[str, ...]
    training: tuple[str, ...]
    epoch: int | None
    licence: str | None


def checkpoint_info(name_or_path: str | os.PathLike[str]) -> CheckpointInfo:
    """Describe a checkpoint; its keys are checked against its network.

    Raises:
        CheckpointError: not found, damaged, or keys that do not fit.
    """
    preset = locate(name_or_path).preset
    stored = read_checkpoint(local_path(name_or_path))
    config = None if stored.architecture in (None, CROCO) else stored.config()
    epoch = stored.training.get("epoch")
    return CheckpointInfo(
        path=stored.path,
        file_bytes=stored.path.stat().st_size,
        architecture=stored.architecture,
        config=config,
        keywords=stored.keywords,
        parameters=_count_parameters(stored, config),
        keys=len(stored.tensors),
        dtypes=tuple(sorted({str(t.dtype).removeprefix("torch.") for t in stored.tensors.values()})),
        training=tuple(stored.training),
        epoch=epoch if isinstance(epoch, int) else None,
        licence=preset.licence if preset is not None else _licence_beside(stored.path),
    )


def _count_parameters(stored: StoredModel, config: ModelConfig | None) -> int:
    if config is None:
        return sum(tensor.numel() for tensor in stored.tensors.values())
    with torch.device("meta"):
        model = config.build()
    match = match_keys(model, stored.tensors, purpose="use", path=stored.path)
    return sum(stored.tensors[name].numel() for name in match.source.values())


def _licence_beside(path: Path) -> str | None:
    """The licence that a model card (README.md with a YAML head) in the same folder names."""
    card = path.parent / "README.md"
    if not card.is_file():
        return None
    head = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    line = re.search(r"^licen[cs]e:\s*(.+)$", head[1], re.MULTILINE) if head else None
    return line[1].strip().strip("\"'") if line else None
