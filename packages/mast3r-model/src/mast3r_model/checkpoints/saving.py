"""Writing checkpoints: the hub's folder layout and upstream's ``.pth`` (spec 10 S9.1, S9.3); atomic."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from mast3r_model.checkpoints.locations import CONFIG_NAME, SAFETENSORS_NAME
from mast3r_model.checkpoints.naming import slots_of
from mast3r_model.config import ModelConfig
from mast3r_model.errors import CheckpointError, OutputError
from mast3r_model.files import atomic_write

if TYPE_CHECKING:
    from mast3r_model.networks import AsymmetricCroCo3DStereo

StoredDtype = Literal["fp32", "fp16"]

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}

_ALWAYS_WRITTEN = frozenset(
    {"output_mode", "head_type", "depth_mode", "conf_mode", "desc_mode", "two_confs", "desc_conf_mode"}
    | {"landscape_only", "patch_embed_cls", "img_size", "pos_embed"}
    | {"enc_embed_dim", "enc_depth", "enc_num_heads", "dec_embed_dim", "dec_depth", "dec_num_heads"}
)
"""Keywords that upstream's own files state; others are left out where they are at default."""


def save_pretrained(
    model: AsymmetricCroCo3DStereo, folder: str | os.PathLike[str], *, dtype: StoredDtype = "fp32"
) -> Path:
    """Write config.json and model.safetensors, as upstream's hub files are.

    Args:
        model: the network; its `config` is written as it is.
        folder: made if missing; files of these names in it are replaced.
        dtype: "fp32", or "fp16" for half the size (read back as float32).

    Returns:
        The folder.

    Raises:
        OutputError: cannot be written; nothing half-written is left.
        CheckpointError: a weight is too large for fp16.
    """
    folder = Path(folder)
    tensors, tied = _distinct_tensors(model, dtype)
    _write_safetensors(folder / SAFETENSORS_NAME, tensors, tied)
    with atomic_write(folder / CONFIG_NAME) as temporary:
        temporary.write_text(config_text(model.config), encoding="utf-8")
    return folder


def save_pth(
    model: AsymmetricCroCo3DStereo, path: str | os.PathLike[str], *, training: dict[str, Any] | None = None
) -> Path:
    """Write upstream's ``.pth`` layout, which upstream's loader reads (spec 10 S9.1).

    Args:
        model: the network; every tied name is written, all weights as contiguous float32.
        path: the file.
        training: further entries of the file, such as ``{"epoch": 3, "best_so_far": 0.1}``.

    Returns:
        The path.

    Raises:
        OutputError: cannot be written; nothing half-written is left.
    """
    path = Path(path)
    state = model.state_dict()
    for names in slots_of(model).values():
        state |= dict.fromkeys(names, _converted(names[0], state[names[0]], "fp32"))
    arguments = argparse.Namespace(model=model.config.to_expression())
    write_pth(path, {"args": arguments, "model": dict(state), "epoch": 0, **(training or {})})
    return path


def write_pth(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a file that `read_pth` reads: tensors, plain values and `argparse.Namespace`.

    Raises:
        OutputError: cannot be written; nothing half-written is left.
    """
    with atomic_write(path) as temporary:
        try:
            torch.save(dict(content), temporary)
        except RuntimeError as error:  # how torch reports a full disk
            raise _cannot_write(Path(path), error) from error


def config_text(config: ModelConfig) -> str:
    """The content of config.json: sorted keywords, lists for tuples, ``Infinity`` (spec 10 S9.3).

    The class is not named, because upstream would take the name for a keyword; `output_mode` tells it.
    """
    is_dust3r = config.architecture == "AsymmetricCroCo3DStereo"
    always = _ALWAYS_WRITTEN | {"freeze"} if is_dust3r else _ALWAYS_WRITTEN
    defaults = {name: field.default for name, field in ModelConfig.__dataclass_fields__.items()}
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in config.keywords().items()
        if name in always or value != defaults[name]
    }
    return json.dumps(values, sort_keys=True, indent=2)


def _distinct_tensors(model: nn.Module, dtype: StoredDtype) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every tensor once, by the first of its names in sorted order; and left-out name -> kept name."""
    state = model.state_dict(keep_vars=True)
    tensors: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    for names in slots_of(model).values():
        kept, *dropped = sorted(names)
        tensors[kept] = _converted(kept, state[kept].detach(), dtype)
        tied |= dict.fromkeys(dropped, kept)
    return tensors, tied


def _converted(name: str, tensor: Tensor, dtype: StoredDtype) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.cpu().contiguous()
    converted = tensor.to(device="cpu", dtype=_DTYPES[dtype]).contiguous()
    if dtype == "fp16" and tensor.isfinite().all() and not converted.isfinite().all():
        raise CheckpointError(f"{name} does not fit into fp16", hint="save with dtype='fp32'")
    return converted


def _write_safetensors(path: Path, tensors: dict[str, Tensor], tied: dict[str, str]) -> None:
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the user's umask gives; safetensors makes its file private
        try:
            save_file(tensors, temporary, metadata=tied or None)
        except SafetensorError as error:
            raise _cannot_write(path, error) from error
        temporary.chmod(mode)


def _cannot_write(path: Path, error: Exception) -> OutputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return OutputError(f"cannot write {path}: {reason[:160]}", hint="is the disk full?")
