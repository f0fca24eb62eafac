"""CroCo's transformer blocks, positions, patch embeddings, DPT head and pretraining model."""

from croco_backbone.blocks import Attention, CrossAttention, DecoderBlock, EncoderBlock, Mlp
from croco_backbone.dpt import DPTAdapter
from croco_backbone.initialization import initialize_croco_weights
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
    "CroCoTrunk",
    "CrossAttention",
    "DPTAdapter",
    "DecoderBlock",
    "EncoderBlock",
    "ManyARPatchEmbed",
    "Mlp",
    "PatchEmbed",
    "PatchEmbedDust3R",
    "RoPE2D",
    "cosine_table",
    "initialize_croco_weights",
    "patchify",
    "pixel_shuffle_tokens",
    "resize_cosine_table",
    "rope_from_name",
    "token_positions",
    "unpatchify",
]
