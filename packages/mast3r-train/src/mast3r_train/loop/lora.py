"""LoRA (``--lora``): in place of a layer's weights W, two small matrices beside them are trained.

The layer computes with ``W + alpha/rank * B A``, where W is frozen and only A (rank x in) and B (out x rank)
are trained; B begins as zero. What is written for use holds the sum, in upstream's layout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mast3r_model import CheckpointError, ConfigError, atomic_write, nearest_names
from mast3r_train.loop.blocks import transformer_blocks

DEFAULT_TARGETS = "qkv,proj,projq,projk,projv,fc1,fc2"
"""The linear layers of the blocks' attentions and MLPs."""

ADAPTER_FOLDER = "adapter"
_WEIGHTS_NAME, _CONFIG_NAME = "adapter_model.safetensors", "adapter_config.json"  # peft's names
_PREFIX = "base_model.model."  # of peft's files
_BASE = "base_layer"
_A, _B = "lora_A.default.weight", "lora_B.default.weight"


@dataclass(frozen=True)
class LoraAdapters:
    """The adapters that a network has, and the layouts of its weights with and without them.

    Attributes:
        rank: rows of A and columns of B.
        alpha: scale of the adapters, times the rank.
        layers: names of the linear layers that have one.
        heads: names of further parameters that are trained.
        base: what the network started from, for the adapter's file; None if it is not known.
    """

    rank: int
    alpha: float
    layers: tuple[str, ...]
    heads: tuple[str, ...] = ()
    base: str | None = None

    def merged(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the network without adapters that computes the same.

        Args:
            state: whole weights of the network with adapters, by name.
        """
        own, adapted = set(self._own_names()), set(self.layers)
        merged: dict[str, Tensor] = {}
        for name, tensor in state.items():
            owner, _, leaf = name.rpartition(".")
            layer = owner.removesuffix(f".{_BASE}")
            if layer in adapted:
                merged[f"{layer}.{leaf}"] = self._sum(layer, tensor, state) if leaf == "weight" else tensor
            elif name not in own:
                merged[name] = tensor
        return merged

    def kept(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """What a checkpoint needs beside the merged weights to go on exactly."""
        base = {f"{layer}.weight": state[f"{layer}.{_BASE}.weight"] for layer in self.layers}
        return {
            "rank": self.rank,
            "alpha": self.alpha,
            "base": base,
            "adapters": {name: state[name] for name in self._own_names()},
        }

    def restored(
        self, merged: Mapping[str, Tensor], kept: Mapping[str, Any] | None, path: Path
    ) -> dict[str, Tensor]:
        """The inverse of :meth:`merged` and :meth:`kept`, to the last bit.

        Raises:
            CheckpointError: the checkpoint has no adapters, or others.
        """
        names = set(self._own_names())
        if (
            kept is None
            or set(kept["adapters"]) != names
            or (kept["rank"], kept["alpha"])
            != (
                self.rank,
                self.alpha,
            )
        ):
            has = "no LoRA adapters" if kept is None else f"other adapters (rank {kept['rank']})"
            raise CheckpointError(
                f"{path} has {has}, but --lora {self.rank} wants to go on from it",
                hint="give the same --lora options as before, or another --output_dir with "
                f"--pretrained {path}",
            )
        state: dict[str, Tensor] = {}
        for name, tensor in merged.items():
            layer, _, leaf = name.rpartition(".")
            state[f"{layer}.{_BASE}.{leaf}" if layer in self.layers else name] = kept["base"].get(
                name, tensor
            )
        return {**state, **kept["adapters"]}

    def write(self, folder: Path, state: Mapping[str, Tensor]) -> Path:
        """Write only what was trained, in the layout of the library peft: a small file.

        ``PeftModel.from_pretrained(load_model(base), folder)`` puts them onto the network they started from.

        Args:
            folder: made if missing.
            state: weights of the network with adapters.
        """
        from safetensors.torch import save

        tensors = {
            _PREFIX + name.replace(".default.", "."): state[name].detach().cpu().contiguous()
            for name in (*self._own_names(), *self.heads)
        }
        with atomic_write(folder / _WEIGHTS_NAME) as temporary:
            temporary.write_bytes(save(tensors))
        config = {
            "peft_type": "LORA",
            "base_model_name_or_path": self.base,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "target_modules": list(self.layers),
            "bias": "none",
            "inference_mode": True,
        }
        with atomic_write(folder / _CONFIG_NAME) as temporary:
            temporary.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        return folder

    def _sum(self, layer: str, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """In float64, because a GPU may round products of float32 numbers to fewer digits."""
        a, b = state[f"{layer}.{_A}"], state[f"{layer}.{_B}"]
        return (weight.double() + (self.alpha / self.rank) * (b.double() @ a.double())).to(weight.dtype)

    def _own_names(self) -> list[str]:
        return [f"{layer}.{matrix}" for layer in self.layers for matrix in (_A, _B)]


def add_adapters(
    model: nn.Module,
    rank: int,
    *,
    alpha: float | None = None,
    targets: str = DEFAULT_TARGETS,
    train_heads: bool = False,
    base: str | None = None,
) -> LoraAdapters:
    """Give a network adapters and freeze everything else.

    Args:
        model: the network, changed in place. Layers that are frozen already get no adapter.
        rank: rows of A and columns of B.
        alpha: default: the rank, for a scale of 1.
        targets: words joined by commas: the last part of the name of a linear layer in a transformer block,
            such as ``qkv``, or a glob pattern over the whole names of the network's linear layers.
        train_heads: train the heads (``downstream_*``) too, as far as they are not frozen already.
        base: what the network started from.

    Raises:
        ConfigError: peft is not installed, or a word matches no linear layer.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ConfigError(
            f"--lora needs the library peft, which cannot be imported ({error})",
            hint="pip install 'mast3r-train[lora]'",
        ) from error
    layers = _chosen_layers(model, targets)
    heads = {
        name: parameter
        for name, parameter in model.named_parameters()
        if train_heads and name.startswith("downstream_") and parameter.requires_grad
    }
    scale = float(rank if alpha is None else alpha)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=scale, target_modules=list(layers)), model)  # type: ignore[arg-type]
    for parameter in heads.values():
        parameter.requires_grad_(True)
    return LoraAdapters(rank, scale, layers, tuple(heads), base)


def _chosen_layers(model: nn.Module, targets: str) -> tuple[str, ...]:
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    blocks = tuple(f"{name}." for name in transformer_blocks(model))
    leaves = {name: name.rpartition(".")[2] for name in linear if name.startswith(blocks)}
    chosen: set[str] = set()
    for word in (word.strip() for word in targets.split(",")):
        found = {name for name, leaf in leaves.items() if leaf == word}
        found |= {name for name in linear if fnmatchcase(name, word)}
        if not found:
            known = list(dict.fromkeys(leaves.values()))
            near = nearest_names(word, [*known, *linear])
            raise ConfigError(
                f"--lora_targets: {word!r} is no linear layer of {type(model).__name__}; known: "
                f"{', '.join(known)}",
                hint=f"did you mean {' or '.join(near)}?" if near else "patterns over whole names work too",
            )
        chosen |= found
    layers = tuple(name for name, module in linear.items() if name in chosen and module.weight.requires_grad)
    if not layers:
        raise ConfigError(f"--lora_targets {targets!r}: all of these layers are frozen", hint="see --freeze")
    return layers
