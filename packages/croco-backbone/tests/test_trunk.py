"""The trunk: names, sizes, initialisation, meta device, errors."""

from __future__ import annotations

import copy

import pytest
import torch

from croco_backbone import CroCoNet, CroCoTrunk, initialize_croco_weights

SMALL = {
    "img_size": (32, 48),
    "enc_embed_dim": 16,
    "enc_depth": 2,
    "enc_num_heads": 2,
    "dec_embed_dim": 8,
    "dec_depth": 1,
    "dec_num_heads": 2,
}
LARGE = {
    "enc_embed_dim": 1024,
    "enc_depth": 24,
    "enc_num_heads": 16,
    "dec_embed_dim": 768,
    "dec_depth": 12,
    "dec_num_heads": 12,
}


def test_sizes_of_the_released_models_on_the_meta_device() -> None:
    with torch.device("meta"):
        large = CroCoNet(**LARGE, pos_embed="RoPE100")
        version1 = CroCoNet()
    assert sum(parameter.numel() for parameter in large.parameters()) == 417_918_720
    assert len(large.state_dict()) == 587
    assert sum(parameter.numel() for parameter in version1.parameters()) == 120_076_288
    assert all(value.is_meta for value in version1.state_dict().values())


def test_a_model_built_on_meta_works_once_its_state_is_assigned() -> None:
    keywords = {**SMALL, "pos_embed": "RoPE100", "patch_embed_cls": "PatchEmbedDust3R"}
    model = CroCoTrunk(**keywords).eval()
    with torch.device("meta"):
        empty = CroCoTrunk(**keywords).eval()
    empty.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    image = torch.randn(1, 3, 48, 32)
    assert torch.equal(empty.encode_image(image)[0], model.encode_image(image)[0])


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = CroCoNet(**{**SMALL, "dec_embed_dim": 256, "dec_num_heads": 4, "pos_embed": "RoPE100"})
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert (parameter == (1.0 if name.endswith("weight") else 0.0)).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all() == (name != "patch_embed.proj.bias"), name
        elif parameter.ndim == 2:
            bound = (6 / sum(parameter.shape)) ** 0.5
            assert 0.9 * bound < parameter.abs().max() <= bound, name
    assert model.mask_token.std().item() == pytest.approx(0.02, rel=0.2)
    patch_bound = (6 / (16 + 3 * 16**2)) ** 0.5
    assert 0.99 * patch_bound < model.patch_embed.proj.weight.abs().max() <= patch_bound
    assert model.patch_embed.proj.bias.abs().max() <= (3 * 16**2) ** -0.5


def test_initialisation_leaves_the_meta_device_alone() -> None:
    with torch.device("meta"):
        model = CroCoTrunk(**SMALL)
    initialize_croco_weights(model)
    assert model.mask_token.is_meta


def test_attributes() -> None:
    model = CroCoTrunk(**SMALL, pos_embed="RoPE100", patch_embed_cls="ManyAR_PatchEmbed")
    assert model.patch_size == 16
    assert model.patch_embed.img_size == (32, 48)
    assert (model.enc_embed_dim, model.enc_depth, model.dec_embed_dim, model.dec_depth) == (16, 2, 8, 1)
    assert "enc_pos_embed" not in model.state_dict()
    assert "dec_blocks.0.norm_y.weight" in model.state_dict()
    without = CroCoTrunk(**SMALL, norm_im2_in_dec=False)
    assert "dec_blocks.0.norm_y.weight" not in without.state_dict()
    assert without.state_dict()["enc_pos_embed"].shape == (6, 16)


def test_portrait_images_encode_alike_in_both_layouts() -> None:
    many = CroCoTrunk(**SMALL, pos_embed="RoPE100", patch_embed_cls="ManyAR_PatchEmbed").eval()
    plain = CroCoTrunk(**SMALL, pos_embed="RoPE100", patch_embed_cls="PatchEmbedDust3R").eval()
    plain.load_state_dict(many.state_dict())
    upright = torch.randn(1, 3, 48, 32)
    tokens, positions = many.encode_image(upright.transpose(2, 3), torch.tensor([[48, 32]]))
    expected, expected_positions = plain.encode_image(upright)
    torch.testing.assert_close(tokens, expected)
    assert torch.equal(positions, expected_positions)


def test_errors() -> None:
    with pytest.raises(ValueError, match="patch_embed_cls='Patches' is unknown"):
        CroCoTrunk(**SMALL, patch_embed_cls="Patches")
    with pytest.raises(ValueError, match="pos_embed='learned'"):
        CroCoTrunk(**SMALL, pos_embed="learned")
    with pytest.raises(ValueError, match=r"img_size=\(30, 48\)"):
        CroCoTrunk(**{**SMALL, "img_size": (30, 48)})
