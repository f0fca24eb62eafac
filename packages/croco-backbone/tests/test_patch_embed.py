"""Patch embeddings: tokens, positions, mixed orientations, sizes that do not fit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from croco_backbone import PATCH_EMBEDS, ManyARPatchEmbed, PatchEmbed, PatchEmbedDust3R


def test_attributes() -> None:
    embedding = PatchEmbed((32, 48), 16, embed_dim=8)
    assert (embedding.img_size, embedding.patch_size) == ((32, 48), (16, 16))
    assert (embedding.grid_size, embedding.num_patches) == ((2, 3), 6)
    assert PatchEmbed(32).img_size == PatchEmbed([32, 32]).img_size == (32, 32)
    assert sorted(embedding.state_dict()) == ["proj.bias", "proj.weight"]
    assert PATCH_EMBEDS["ManyAR_PatchEmbed"] is ManyARPatchEmbed


def test_token_is_the_projection_of_its_patch() -> None:
    embedding = PatchEmbedDust3R(64, 8, embed_dim=5)
    image = torch.randn(2, 3, 16, 24)
    tokens, positions = embedding(image, torch.tensor([[16, 24]] * 2))
    assert tokens.is_contiguous()
    for token, (row, column) in zip(tokens[1], positions[1].tolist(), strict=True):
        patch = image[1, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].flatten()
        assert_close(token, embedding.proj.weight.flatten(1) @ patch + embedding.proj.bias)


@settings(max_examples=20, deadline=None)
@given(portrait=st.lists(st.booleans(), min_size=1, max_size=4), columns=st.integers(2, 4))
def test_many_aspect_ratios_equal_one_by_one_upright(portrait: list[bool], columns: int) -> None:
    torch.manual_seed(0)
    many = ManyARPatchEmbed(64, 4, embed_dim=6)
    single = PatchEmbedDust3R(64, 4, embed_dim=6)
    single.load_state_dict(many.state_dict())
    batch = torch.randn(len(portrait), 3, 8, 4 * columns)
    # Only the comparison of the two sides matters, not their values; a square image is landscape.
    shapes = torch.tensor([[9, 7] if upright else [7, 7] for upright in portrait])
    tokens, positions = many(batch, shapes)
    for index, upright in enumerate(portrait):
        image = batch[index : index + 1]
        expected, expected_positions = single(image.transpose(2, 3) if upright else image)
        assert_close(tokens[index : index + 1], expected, atol=1e-6, rtol=1e-5)
        assert torch.equal(positions[index : index + 1], expected_positions)


def test_many_aspect_ratios_stay_in_the_dtype_of_the_image() -> None:
    image, shapes = torch.randn(2, 3, 8, 8), torch.tensor([[8, 8], [9, 8]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ManyARPatchEmbed(64, 4, embed_dim=6)(image, shapes)[0].dtype == torch.float32
        assert PatchEmbedDust3R(64, 4, embed_dim=6)(image, shapes)[0].dtype == torch.bfloat16


def test_gradients_reach_every_image_of_a_mixed_batch() -> None:
    image = torch.randn(3, 3, 8, 16, requires_grad=True)
    tokens, _ = ManyARPatchEmbed(64, 4, embed_dim=6)(image, torch.tensor([[8, 16], [16, 8], [8, 16]]))
    tokens.square().sum().backward()
    assert image.grad is not None
    assert (image.grad.flatten(1).norm(dim=1) > 0).all()


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"32x32 pixels.*got 32x48"):
        PatchEmbed(32)(torch.zeros(1, 3, 32, 48))
    for embedding in (PatchEmbedDust3R(32), ManyARPatchEmbed(32)):
        with pytest.raises(ValueError, match=r"32x50.*patch size 16.*32x48"):
            embedding(torch.zeros(1, 3, 32, 50))
    with pytest.raises(ValueError, match="landscape"):
        ManyARPatchEmbed(32)(torch.zeros(1, 3, 48, 32), torch.tensor([[48, 32]]))
    with pytest.raises(ValueError, match=r"true_shape must be \(1, 2\)"):
        ManyARPatchEmbed(32)(torch.zeros(1, 3, 32, 48), torch.tensor([48, 32]))
    with pytest.raises(ValueError, match="img_size"):
        PatchEmbed((32, 32, 32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="square"):
        PatchEmbed(32, (16, 8))


@pytest.mark.gpu
def test_true_shape_may_stay_on_the_cpu() -> None:
    embedding = ManyARPatchEmbed(64, 4, embed_dim=6).cuda()
    tokens, positions = embedding(torch.randn(2, 3, 8, 16, device="cuda"), torch.tensor([[8, 16], [16, 8]]))
    assert tokens.is_cuda
    assert positions.is_cuda
