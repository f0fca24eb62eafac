"""Upstream's view dictionaries, which loaders, networks and losses exchange (spec 10 S6.1, spec 40 S7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

View: TypeAlias = Mapping[str, Any]
"""A photo or a batch of them: ``img``, ``true_shape``, ``instance``, ...; in training also its geometry."""

HOST_KEYS = frozenset({"depthmap", "dataset", "label", "instance", "idx", "true_shape", "rng"})
"""Keys whose values stay on the CPU: networks and losses read them there or not at all."""


def view_to_device(view: View, device: torch.device | str) -> dict[str, Any]:
    """A copy of a batched view whose tensors lie on `device`, except those under `HOST_KEYS`."""
    return {
        key: value.to(device, non_blocking=True)
        if isinstance(value, Tensor) and key not in HOST_KEYS
        else value
        for key, value in view.items()
    }
