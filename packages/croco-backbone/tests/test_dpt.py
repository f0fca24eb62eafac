"""The DPT adapter against upstream, its tied names and its memory layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from croco_backbone import DPTAdapter

TINY: dict[str, Any] = {
    "num_channels": 3,
    "hooks": [0, 1, 2, 3],
    "layer_dims": [4, 4, 8, 8],
    "feature_dim": 8,
    "last_dim": 4,
    "dim_tokens_enc": 8,
}


def load(name: str, goldens: Callable[[str], Path]) -> tuple[DPTAdapter, dict[str, Tensor]]:
    checkpoint = torch.load(goldens(f"model/dpt_{name}.pth"), weights_only=True)
    keywords = checkpoint["kwargs"]
    # Upstream changes the last factor from outside; here it follows from the patch size.
    assert keywords.pop("head_upsample_scale") == keywords["patch_size"] / 16
    adapter = DPTAdapter(**keywords)
    adapter.load_state_dict(checkpoint["model"], strict=True)
    assert list(adapter.state_dict()) == list(checkpoint["model"])
    with np.load(goldens("model/dpt.npz")) as arrays:
        tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files if key.startswith(f"{name}/")}
    return adapter.eval(), tensors


@pytest.mark.parametrize("name", ["p16", "p14"])
def test_golden(name: str, goldens: Callable[[str], Path]) -> None:
    adapter, arrays = load(name, goldens)
    grids = sorted({key.split("/")[1] for key in arrays})
    assert grids
    for grid in grids:
        rows, columns = map(int, grid.split("x"))
        tokens = [arrays[f"{name}/{grid}/tokens{layer}"] for layer in range(4)]
        size = (rows * adapter.patch_size, columns * adapter.patch_size)
        with torch.no_grad():
            out = adapter(tokens, size)
        assert_close(out, arrays[f"{name}/{grid}/out"], atol=5e-5, rtol=1e-4)


def test_duplicate_names_are_one_parameter() -> None:
    adapter = DPTAdapter(**TINY)
    state = adapter.state_dict()
    for layer in range(4):
        first, second = (
            state[f"scratch.layer{layer + 1}_rn.weight"],
            state[f"scratch.layer_rn.{layer}.weight"],
        )
        assert first.data_ptr() == second.data_ptr()
    names = [name for name, _ in adapter.named_parameters()]
    assert not any("layer_rn" in name for name in names)
    with torch.device("meta"):
        empty = DPTAdapter(**TINY)
    assert all(value.is_meta for value in empty.state_dict().values())
    empty.load_state_dict({name: value.clone() for name, value in state.items()}, assign=True)
    assert empty.scratch.layer_rn[2].weight is empty.scratch.layer3_rn.weight


def test_size_of_the_head_of_the_released_models() -> None:
    with torch.device("meta"):
        adapter = DPTAdapter(4, hooks=[0, 6, 9, 12], last_dim=128, dim_tokens_enc=[1024, 768, 768, 768])
    assert sum(parameter.numel() for parameter in adapter.parameters()) == 20_201_668


def test_unused_unit_gets_no_gradient_and_all_others_do() -> None:
    adapter = DPTAdapter(**TINY)
    adapter([torch.randn(1, 6, 8) for _ in range(4)], (32, 48)).square().sum().backward()
    without = {name for name, parameter in adapter.named_parameters() if parameter.grad is None}
    assert without == {name for name, _ in adapter.named_parameters() if "refinenet4.resConfUnit1" in name}


def test_works_in_channels_last_and_in_bfloat16() -> None:
    adapter = DPTAdapter(**TINY)
    tokens = [torch.randn(2, 6, 8) for _ in range(4)]
    out = adapter(tokens, (32, 48))
    assert out.shape == (2, 3, 32, 48)
    assert out.permute(0, 2, 3, 1).is_contiguous()
    half = adapter.bfloat16()([token.bfloat16() for token in tokens], (32, 48))
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), out, atol=0.05, rtol=0.05)


def test_errors() -> None:
    adapter = DPTAdapter(**TINY)
    with pytest.raises(ValueError, match="too shallow"):
        adapter([torch.zeros(1, 6, 8)] * 3, (32, 48))
    with pytest.raises(ValueError, match="6 tokens do not cover an image of 32x64"):
        adapter([torch.zeros(1, 6, 8)] * 4, (32, 64))
    with pytest.raises(ValueError, match="hooks must have 4 entries"):
        DPTAdapter(hooks=[0, 1])
    with pytest.raises(ValueError, match="use_bn=False"):
        DPTAdapter(use_bn=True)
