"""Which network it is, by its content: what stored outputs are known by (spec 00, the prediction cache)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mast3r_model.errors import InputError


@dataclass(frozen=True)
class NetworkIdentity:
    """What a network's outputs depend on beside its inputs.

    Attributes:
        digest: of all its weights and its configuration, hex.
        precision: of its compute: fp32, bf16, fp16.
        description: for people.
    """

    digest: str
    precision: str
    description: str


def network_identity(model: Any) -> NetworkIdentity:
    """Identify a network by its weights' content.

    Args:
        model: a network; or any object like one that has a text ``fingerprint``, different for different
            outputs.

    Raises:
        InputError: neither.
    """
    precision = getattr(model, "precision", None)
    describe = getattr(getattr(model, "config", None), "to_expression", None)
    description = describe() if callable(describe) else type(model).__name__
    fingerprint = getattr(model, "fingerprint", None)
    if isinstance(fingerprint, str):
        digest = hashlib.sha256(fingerprint.encode()).hexdigest()
    elif isinstance(model, nn.Module):
        digest = _weights_digest(model, description)
    else:
        raise InputError(
            f"cannot tell one {type(model).__name__} from another, so its predictions cannot be kept",
            "give it an attribute `fingerprint`: a text that differs where its outputs do",
        )
    return NetworkIdentity(digest, "fp32" if precision is None else precision.name, description)


def _weights_digest(model: nn.Module, description: str) -> str:
    digest = hashlib.sha256(f"{type(model).__qualname__}\n{description}\n".encode())
    for name, tensor in sorted(model.state_dict().items()):
        content = tensor.detach().contiguous().cpu()
        digest.update(f"{name} {content.dtype} {tuple(content.shape)}\n".encode())
        digest.update(content.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
