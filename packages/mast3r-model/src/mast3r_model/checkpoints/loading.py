"""Loading checkpoints into networks, without a second copy of the weights (spec 10 S9.2 to S9.5)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mast3r_model.checkpoints.locations import local_path
from mast3r_model.checkpoints.naming import KeyMatch, match_keys
from mast3r_model.checkpoints.reader import StoredModel, read_checkpoint
from mast3r_model.config import ModelConfig
from mast3r_model.device import DtypeName, resolve_precision

if TYPE_CHECKING:
    from mast3r_model.networks import AsymmetricCroCo3DStereo


@dataclass(frozen=True)
class LoadReport:
    """What `load_pretrained_into` did.

    Attributes:
        missing: names that kept their fresh initialisation, tied names each by themselves.
        unexpected: names in the file that were not used.
        cloned: names of the second decoder that were copied from the first.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    cloned: tuple[str, ...]


def load_model(
    name_or_path: str | os.PathLike[str] = "nano",
    *,
    device: str | torch.device = "auto",
    dtype: DtypeName | torch.dtype = "auto",
    for_inference: bool = True,
    overrides: Mapping[str, Any] | None = None,
) -> AsymmetricCroCo3DStereo:
    """Load a MASt3R or DUSt3R network; what the checkpoint says decides which of them.

    The network is built without initialising it, and the file's weights are mapped into it: loading costs
    no time to speak of, weights come from the disk when they are first used, and nothing is held twice.
    Weights are float32 on every device; those of a half-precision file are widened one by one as it is read.
    While a network uses a file, it may be replaced (as every writer here does) but not be overwritten in
    place.

    Args:
        name_or_path: a preset (`nano`, ...), a hub id, a folder with config.json, a .pth file, or a
            .safetensors file beside its config.json.
        device: "auto", "cpu", "cuda[:N]", "mps".
        dtype: precision of the network's compute, see `resolve_precision`.
        for_inference: take photos in their natural orientation (spec 10 S9.2). False keeps the network as
            stored, to train it on; then `dtype="auto"` leaves the precision to the caller's autocast.
        overrides: keywords of the network (see `ModelConfig`) that replace the stored ones.

    Returns:
        An `AsymmetricMASt3R` or `AsymmetricCroCo3DStereo` in eval mode, `model.precision` set.

    Raises:
        CheckpointError: not found, damaged, or its keys do not fit; `KeyMismatchError` lists them.
        UnsafeCheckpointError: a pickle that could run code.
        ConfigError: an override that the network does not have, or cannot be built with.
        DeviceError: no such device or precision here.
    """
    precision = resolve_precision(device, dtype)
    stored = read_checkpoint(local_path(name_or_path))
    config = stored.config()
    if for_inference:
        config = config.for_inference()
    if overrides:
        config = ModelConfig.from_keywords(config.architecture, {**config.keywords(), **overrides})
    model = build_with_weights(config, stored, precision.device)
    model.precision = precision if for_inference or dtype != "auto" else None
    return model.eval()


def build_with_weights(
    config: ModelConfig, stored: StoredModel, device: torch.device
) -> AsymmetricCroCo3DStereo:
    """Build a network whose parameters are the file's tensors.

    Raises:
        KeyMismatchError: keys or shapes do not fit.
    """
    with torch.device("meta"):
        model = config.build()
    match = match_keys(model, stored.tensors, purpose="use", path=stored.path)
    if _has_unstored_tensors(model, match):
        # A plugin's head computes tables in its constructor: these are not in the file, so build it for real.
        model = config.build()
    others = {
        slot: source for slot, source in match.source.items() if _is_other_float(stored.tensors[source])
    }
    used: set[int] = set()
    for slot, source in match.source.items():
        if slot not in others:
            _put(model, match.aliases[slot], _own(stored.tensors[source], used, device))
    if others:
        # Read and dropped one by one, so that the file is never in memory beside the widened weights.
        with stored.unmapped() as read:
            for slot, source in others.items():
                _put(model, match.aliases[slot], read(source).to(device=device, dtype=torch.float32))
    return model.to(device)


def load_pretrained_into(model: nn.Module, name_or_path: str | os.PathLike[str]) -> LoadReport:
    """Initialise a network from a checkpoint of another architecture (CroCo, DUSt3R, MASt3R; spec 10 S9.4).

    All of the trunk must be in the file and fit. Heads that are missing keep their fresh initialisation,
    heads that do not exist here are left out; a file with one decoder (CroCo) fills both, the second with
    a copy.

    Args:
        model: a built and initialised network; its parameters are overwritten in place.
        name_or_path: as in `load_model`.

    Raises:
        KeyMismatchError: the trunk does not fit, or a shape differs; lists the names. The model is unchanged.
    """
    stored = read_checkpoint(local_path(name_or_path))
    match = match_keys(model, stored.tensors, purpose="initialise", path=stored.path)
    copy_weights(model, stored, match)
    return LoadReport(match.missing, match.unexpected, tuple(sorted(match.cloned)))


def check_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, path: str | os.PathLike[str]) -> None:
    """Check that weights by name are exactly those of a network, before they are loaded.

    Args:
        tensors: the weights; of tied names all may be there, or one.
        path: the file they are from, for the message.

    Raises:
        KeyMismatchError: they are not; one line with the first names and shapes that differ.
    """
    match_keys(model, tensors, purpose="use", path=os.fspath(path))


def copy_weights(model: nn.Module, stored: StoredModel, match: KeyMatch) -> None:
    """Overwrite a network's parameters in place by the stored tensors that fit them."""
    own = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for slot, source in match.source.items():
            own[slot].copy_(stored.tensors[source])


def _has_unstored_tensors(model: nn.Module, match: KeyMatch) -> bool:
    stored = {name for aliases in match.aliases.values() for name in aliases}
    return any(name not in stored for name, _ in model.named_buffers(remove_duplicate=False))


def _is_other_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype != torch.float32


def _own(tensor: Tensor, used: set[int], device: torch.device) -> Tensor:
    """A tensor on the device that no other slot has: the mapped one itself where possible."""
    owned = tensor.to(device=device)
    if owned is tensor and (not tensor.is_contiguous() or tensor.data_ptr() in used):
        owned = tensor.clone(memory_format=torch.contiguous_format)
    used.add(tensor.data_ptr())
    return owned


def _put(model: nn.Module, names: Sequence[str], tensor: Tensor) -> None:
    """Make a tensor the network's, under all its names: one object, so that tied parameters stay tied."""
    value: Tensor | None = None
    for name in names:
        owner_name, _, leaf = name.rpartition(".")
        owner = model.get_submodule(owner_name)
        if value is None:
            old = getattr(owner, leaf)
            is_parameter = isinstance(old, nn.Parameter)
            value = nn.Parameter(tensor, requires_grad=old.requires_grad) if is_parameter else tensor
        setattr(owner, leaf, value)
