"""CroCoNet against upstream's numbers: encoder, masking, decoder, prediction, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from croco_backbone import CroCoNet, MaskedMSE, patchify, random_mask, resize_cosine_table

TOKENS = {"atol": 5e-5, "rtol": 1e-4}
LOSS = {"atol": 0.0, "rtol": 1e-5}


def test_state_dict_names_and_shapes(golden_croco: Any) -> None:
    ours = {name: value.shape for name, value in golden_croco.model.state_dict().items()}
    assert ours == {name: value.shape for name, value in golden_croco.state.items()}


def test_masking_rule(golden_croco: Any) -> None:
    arrays = golden_croco.arrays
    assert golden_croco.model.num_hidden == arrays["num_mask"]
    mask = random_mask(arrays["noise"], golden_croco.model.num_hidden)
    assert torch.equal(mask, arrays["mask"])


def test_encoder(golden_croco: Any) -> None:
    model, arrays = golden_croco.model, golden_croco.arrays
    with torch.no_grad():
        masked, positions = model.encode(arrays["img1"], arrays["mask"])
        unmasked, _ = model.encode(arrays["img1"])
        all_blocks, positions2 = model.encode_blocks(arrays["img2"])
        plain, plain_positions = model.encode_image(arrays["img2"])
    assert torch.equal(positions, arrays["pos1"])
    assert torch.equal(positions2, arrays["pos2"])
    assert torch.equal(plain_positions, arrays["pos2"])
    assert_close(masked, arrays["feat1_masked"], **TOKENS)
    assert_close(unmasked, arrays["feat1_unmasked"], **TOKENS)
    assert_close(torch.stack(all_blocks), arrays["feat2_all_blocks"], **TOKENS)
    assert_close(plain, arrays["feat2"], **TOKENS)


def test_decoder(golden_croco: Any) -> None:
    model, arrays = golden_croco.model, golden_croco.arrays
    memory = (arrays["feat2"], arrays["pos2"])
    with torch.no_grad():
        masked = model.decode(arrays["feat1_masked"], arrays["pos1"], *memory, arrays["mask"])
        unmasked = model.decode_blocks(arrays["feat1_unmasked"], arrays["pos1"], *memory)
    assert_close(masked, arrays["dec"], **TOKENS)
    assert_close(torch.stack(unmasked), arrays["dec_unmasked_all_blocks"], **TOKENS)


def test_prediction_losses_and_gradients(golden_croco: Any) -> None:
    model, arrays = golden_croco.model, golden_croco.arrays
    if "pred" not in arrays:
        pytest.skip("upstream predicts square images only")
    output = model(arrays["img1"], arrays["img2"], noise=arrays["noise"])
    assert torch.equal(output.mask, arrays["mask"])
    assert torch.equal(output.target, arrays["target"])
    assert_close(output.prediction, arrays["pred"], **TOKENS)
    for normalised in (False, True):
        for masked in (False, True):
            loss = MaskedMSE(norm_pix_loss=normalised, masked=masked)(*output)
            assert_close(loss, arrays[f"loss_normpix{normalised:d}_masked{masked:d}"], **LOSS)
    loss.backward()
    ours = {name: parameter.grad.double().norm() for name, parameter in model.named_parameters()}
    for name, norm in zip(arrays["param_names"], arrays["param_grad_norm"], strict=True):
        # Without rotation a bias of the keys changes nothing: its gradient is rounding noise near 1e-9.
        assert_close(
            ours.pop(str(name)), norm, atol=1e-8, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert not ours


def test_rectangular_images_are_predicted_too(golden_croco: Any) -> None:
    model, arrays = golden_croco.model, golden_croco.arrays
    output = model(arrays["img1"], arrays["img2"])
    assert output.prediction.shape == output.target.shape == patchify(arrays["img1"], 16).shape
    assert (output.mask.sum(dim=1) == model.num_hidden).all()


def test_cosine_tables(golden_croco: Any) -> None:
    model, arrays = golden_croco.model, golden_croco.arrays
    if "enc_pos_embed" not in arrays:
        assert model.enc_pos_embed is None
        assert model.dec_pos_embed is None
        return
    fresh = CroCoNet(
        img_size=model.patch_embed.img_size,
        enc_embed_dim=model.enc_embed_dim,
        dec_embed_dim=model.dec_embed_dim,
        enc_depth=0,
        dec_depth=0,
    )
    for name in ("enc_pos_embed", "dec_pos_embed"):
        assert_close(getattr(fresh, name), arrays[name], atol=1e-6, rtol=0.0)
        if f"interp_{name}" in arrays:
            resized = resize_cosine_table(arrays[name], *arrays["interp_grid"].tolist())
            assert_close(resized, arrays[f"interp_{name}"], atol=1e-5, rtol=0.0)


def test_cosine_model_refuses_another_image_size() -> None:
    keywords = {"img_size": 32, "enc_embed_dim": 8, "enc_depth": 1, "enc_num_heads": 2}
    model = CroCoNet(
        **keywords, dec_embed_dim=8, dec_depth=1, dec_num_heads=2, patch_embed_cls="PatchEmbedDust3R"
    )
    with pytest.raises(ValueError, match="4 positions but the image gives 6 tokens"):
        model.encode(torch.zeros(1, 3, 32, 48))


def test_mask_of_another_size_is_refused() -> None:
    keywords = {
        "img_size": 32,
        "enc_embed_dim": 8,
        "enc_depth": 1,
        "enc_num_heads": 2,
        "pos_embed": "RoPE100",
    }
    model = CroCoNet(**keywords, dec_embed_dim=8, dec_depth=1, dec_num_heads=2)
    with pytest.raises(ValueError, match="5 tokens"):
        model.encode(torch.zeros(1, 3, 32, 32), torch.zeros(1, 5, dtype=torch.bool))
