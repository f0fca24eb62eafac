"""Blocks computed again in the backward pass: the same numbers, less memory."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from croco_backbone import CroCoNet, MaskedMSE

SIZES = {
    "img_size": (64, 64),
    "pos_embed": "RoPE100",
    "enc_embed_dim": 32,
    "enc_depth": 4,
    "enc_num_heads": 4,
    "dec_embed_dim": 32,
    "dec_depth": 4,
    "dec_num_heads": 4,
}


def loss_of(model: CroCoNet, images: Tensor) -> tuple[Tensor, int]:
    """The pretraining loss, and the bytes kept for its backward pass beside the parameters."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    noise = torch.rand(images.shape[1], 16, generator=torch.Generator().manual_seed(1))
    with saved_tensors_hooks(note, lambda tensor: tensor):
        output = model(images[0], images[1], noise=noise)
        loss = MaskedMSE()(*output)
    return loss, sum(kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_loss_and_gradients_with_less_kept(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = CroCoNet(**SIZES)
    saving = copy.deepcopy(plain)
    assert not saving.gradient_checkpointing
    saving.gradient_checkpointing = True
    images = torch.randn(2, 2, 3, 64, 64)
    kept = []
    for model in (plain, saving):
        with torch.autocast(
            "cpu", dtype=dtype if dtype != torch.float32 else None, enabled=dtype != torch.float32
        ):
            loss, count = loss_of(model, images)
        loss.backward()
        kept.append(count)
    assert kept[1] < kept[0] / 2
    for (name, expected), found in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert found.grad is not None, name
        assert torch.equal(found.grad, expected.grad), name


def test_nothing_is_recomputed_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model = CroCoNet(**SIZES)
    model.gradient_checkpointing = True
    calls: list[str] = []
    monkeypatch.setattr("croco_backbone.trunk.checkpoint", lambda *inputs, **options: calls.append("used"))
    with torch.no_grad():
        tokens, _ = model.encode_image(torch.randn(1, 3, 64, 64))
    assert tokens.shape == (1, 16, 32)
    assert not calls
