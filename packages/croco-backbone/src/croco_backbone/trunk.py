"""What CroCo, DUSt3R and MASt3R share: patch embedding, encoder, and one decoder (spec 10 section 4.6)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.checkpoint import checkpoint

from croco_backbone.blocks import LAYER_NORM, DecoderBlock, EncoderBlock, NormLayer
from croco_backbone.initialization import initialize_croco_weights
from croco_backbone.patch_embed import PATCH_EMBEDS, PatchEmbed
from croco_backbone.positions import cosine_table, rope_from_name


class CroCoTrunk(nn.Module):
    """Encoder and decoder of CroCo, without a head; the base of CroCoNet and of the MASt3R models.

    State-dict names are upstream's: ``mask_token, patch_embed.proj, enc_blocks.{i}, enc_norm, decoder_embed,
    dec_blocks.{i}, dec_norm``, and ``enc_pos_embed, dec_pos_embed`` with ``pos_embed='cosine'`` only.
    Can be built under ``torch.device("meta")``. The constructor initialises what it makes
    (`initialize_croco_weights`); a subclass that adds linear layers decides about those.

    Args:
        img_size: (height, width) in pixels, or one number for both.
        patch_size: Side of a patch in pixels.
        mask_ratio: Share of hidden tokens of image 1 in pretraining.
        enc_embed_dim: Encoder width.
        enc_depth: Encoder blocks.
        enc_num_heads: Heads of each encoder block.
        dec_embed_dim: Decoder width.
        dec_depth: Decoder blocks.
        dec_num_heads: Heads of each decoder block.
        mlp_ratio: Hidden width of the blocks' MLPs over their width.
        norm_layer: Makes a norm of a given width (layer norm with eps 1e-6).
        norm_im2_in_dec: Whether each decoder block normalises its memory.
        pos_embed: ``'cosine'`` or ``'RoPE<base>'``.
        patch_embed_cls: Name of the patch embedding, a key of `PATCH_EMBEDS`.

    Attributes:
        gradient_checkpointing: In training, keep only the input of each block and compute the block again in
            the backward pass: the same numbers with less memory, for about a third more time.

    Raises:
        ValueError: For an unknown name or sizes that do not divide.
    """

    enc_pos_embed: Tensor | None
    dec_pos_embed: Tensor | None

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] | list[int] = 224,
        patch_size: int = 16,
        mask_ratio: float = 0.9,
        enc_embed_dim: int = 768,
        enc_depth: int = 12,
        enc_num_heads: int = 12,
        dec_embed_dim: int = 512,
        dec_depth: int = 8,
        dec_num_heads: int = 16,
        mlp_ratio: float = 4,
        norm_layer: NormLayer = LAYER_NORM,
        norm_im2_in_dec: bool = True,
        pos_embed: str = "cosine",
        patch_embed_cls: str = "PatchEmbed",
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.mask_ratio = mask_ratio
        self.enc_embed_dim, self.enc_depth, self.enc_num_heads = enc_embed_dim, enc_depth, enc_num_heads
        self.dec_embed_dim, self.dec_depth, self.dec_num_heads = dec_embed_dim, dec_depth, dec_num_heads
        self.mlp_ratio = mlp_ratio
        self.norm_im2_in_dec = norm_im2_in_dec
        self.pos_embed = pos_embed
        self.rope = rope_from_name(pos_embed)
        self.gradient_checkpointing = False

        self.patch_embed = self._build_patch_embed(patch_embed_cls, img_size)
        self.mask_token = Parameter(torch.zeros(1, 1, dec_embed_dim))
        self.register_buffer("enc_pos_embed", self._cosine_table(enc_embed_dim))
        self.register_buffer("dec_pos_embed", self._cosine_table(dec_embed_dim))
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(enc_embed_dim, enc_num_heads, mlp_ratio, self.rope, norm_layer=norm_layer)
            for _ in range(enc_depth)
        )
        self.enc_norm = norm_layer(enc_embed_dim)
        self.decoder_embed = nn.Linear(enc_embed_dim, dec_embed_dim)
        self.dec_blocks = nn.ModuleList(
            DecoderBlock(
                dec_embed_dim, dec_num_heads, mlp_ratio, norm_im2_in_dec, self.rope, norm_layer=norm_layer
            )
            for _ in range(dec_depth)
        )
        self.dec_norm = norm_layer(dec_embed_dim)
        initialize_croco_weights(self)

    def encode_image(
        self,
        image: Float[Tensor, "batch 3 height width"],
        true_shape: Int[Tensor, "batch 2"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Int[Tensor, "batch tokens 2"]]:
        """Encode a batch of images of one size.

        Args:
            image: Normalised images.
            true_shape: (height, width) of each image as it was shot; only ManyAR embeddings look at it.

        Returns:
            The tokens after ``enc_norm``, and their (row, column).
        """
        tokens, positions = self.embed_image(image, true_shape)
        for block in self.enc_blocks:
            tokens = self.run_block(block, tokens, positions)
        return self.enc_norm(tokens), positions

    def run_block(self, block: nn.Module, *inputs: Tensor) -> Any:
        """Call a block; with `gradient_checkpointing`, so that the backward pass computes it again."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)

    def embed_image(
        self,
        image: Float[Tensor, "batch 3 height width"],
        true_shape: Int[Tensor, "batch 2"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Int[Tensor, "batch tokens 2"]]:
        """Give the encoder's input: patch tokens, plus the cosine table if there is one, and positions."""
        tokens, positions = self.patch_embed(image, true_shape)
        if self.enc_pos_embed is None:
            return tokens, positions
        if tokens.shape[1] != self.enc_pos_embed.shape[0]:
            raise ValueError(
                f"the cosine table has {self.enc_pos_embed.shape[0]} positions but the image gives "
                f"{tokens.shape[1]} tokens: use images of {self.patch_embed.img_size} (height, width), "
                "or resize the tables with resize_cosine_table"
            )
        return tokens + self.enc_pos_embed, positions

    def _build_patch_embed(self, name: str, img_size: int | tuple[int, int] | list[int]) -> PatchEmbed:
        if name not in PATCH_EMBEDS:
            raise ValueError(f"patch_embed_cls={name!r} is unknown, expected one of {sorted(PATCH_EMBEDS)}")
        embedding = PATCH_EMBEDS[name](img_size, self.patch_size, 3, self.enc_embed_dim)
        if any(side % self.patch_size for side in embedding.img_size):
            raise ValueError(
                f"img_size={embedding.img_size} must be multiples of patch_size={self.patch_size}"
            )
        return embedding

    def _cosine_table(self, dim: int) -> Tensor | None:
        return None if self.rope is not None else cosine_table(*self.patch_embed.grid_size, dim)
