"""Upstream's tiny CroCo checkpoints, read as data."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from croco_backbone import CroCoNet


@dataclass(frozen=True)
class GoldenCroCo:
    """A model with upstream's weights, and what upstream computes with it."""

    model: CroCoNet
    state: dict[str, Tensor]
    arrays: dict[str, Any]


def constructor_keywords(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Read the constructor's arguments from either layout of a CroCo checkpoint."""
    if "croco_kwargs" in checkpoint:
        return checkpoint["croco_kwargs"]
    call = ast.parse(checkpoint["args"].model, mode="eval").body
    assert isinstance(call, ast.Call)
    assert not call.args
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


@pytest.fixture(params=["croco_rope", "croco_cosine", "croco_cosine_rect"])
def golden_croco(request: pytest.FixtureRequest, goldens: Callable[[str], Path]) -> GoldenCroCo:
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(goldens(f"model/{request.param}.pth"), weights_only=True)
    model = CroCoNet(**constructor_keywords(checkpoint))
    model.load_state_dict(checkpoint["model"], strict=True)
    with np.load(goldens(f"model/{request.param}.npz")) as arrays:
        tensors = {
            name: arrays[name] if arrays[name].dtype.kind == "U" else torch.from_numpy(arrays[name])
            for name in arrays.files
        }
    return GoldenCroCo(model.eval(), checkpoint["model"], tensors)
