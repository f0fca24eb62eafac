"""CroCo's transformer blocks, positions, patch embeddings, DPT head and pretraining model."""

from croco_backbone.blocks import Attention, CrossAttention, DecoderBlock, EncoderBlock, Mlp
from croco_backbone.croco import CroCoNet, CroCoOutput, random_mask
from croco_backbone.dpt import DPTAdapter
from croco_backbone.initialization import initialize_croco_weights
from croco_backbone.losses import MaskedMSE, normalize_patches
from croco_backbone.patch_embed import PATCH_EMBEDS, ManyARPatchEmbed, PatchEmbed, PatchEmbedDust3R
from croco_backbone.patchify import patchify, pixel_shuffle_tokens, unpatchify
from croco_backbone.positions import (
    RoPE2D,
    cosine_table,
    resize_cosine_table,
    rope_from_name,
    token_positions,
)
from croco_backbone.trunk import CroCoTrunk

__all__ = [
    "PATCH_EMBEDS",
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
