"""The inventory of public names: removing one is a decision."""

from __future__ import annotations

import croco_backbone

PUBLIC = [
    "Attention",
    "CroCoNet",
    "CroCoOutput",
    "CroCoTrunk",
    "CrossAttention",
    "DPTAdapter",
    "DecoderBlock",
    "EncoderBlock",
    "ManyARPatchEmbed",
    "MaskedMSE",
    "Mlp",
    "PATCH_EMBEDS",
    "PatchEmbed",
    "PatchEmbedDust3R",
    "RoPE2D",
    "cosine_table",
    "initialize_croco_weights",
    "normalize_patches",
    "patchify",
    "pixel_shuffle_tokens",
    "random_mask",
    "resize_cosine_table",
    "rope_from_name",
    "token_positions",
    "unpatchify",
]


def test_public_names() -> None:
    assert sorted(croco_backbone.__all__) == sorted(PUBLIC)
    assert all(hasattr(croco_backbone, name) for name in PUBLIC)
