"""CroCo: cross-view completion, the pretraining of the backbone (spec 10 sections 4.8 to 4.10).

Image 1 with most patches hidden is completed from what is left of it and from image 2, another view.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from croco_backbone.initialization import initialize_croco_weights
from croco_backbone.patchify import patchify
from croco_backbone.trunk import CroCoTrunk


class CroCoOutput(NamedTuple):
    """What a forward pass gives, in the order of the arguments of `MaskedMSE`."""

    prediction: Float[Tensor, "batch tokens patch_numbers"]
    """Predicted patches of image 1, in the layout of `patchify`."""
    mask: Bool[Tensor, "batch tokens"]
    """True where a patch of image 1 was hidden."""
    target: Float[Tensor, "batch tokens patch_numbers"]
    """The true patches of image 1."""


def random_mask(
    noise: Float[Tensor, "batch tokens"],
    num_hidden: int,
) -> Bool[Tensor, "batch tokens"]:
    """Hide exactly ``num_hidden`` tokens of every image, at places decided by uniform noise."""
    return noise.argsort(dim=1) < num_hidden


class CroCoNet(CroCoTrunk):
    """The trunk with the head that predicts the pixels of each patch.

    Args:
        keywords: Those of `CroCoTrunk`.
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.prediction_head = nn.Linear(self.dec_embed_dim, 3 * self.patch_size**2)
        initialize_croco_weights(self.prediction_head)

    @property
    def num_hidden(self) -> int:
        """How many tokens of image 1 are hidden."""
        return int(self.mask_ratio * self.patch_embed.num_patches)

    def forward(
        self,
        image1: Float[Tensor, "batch 3 height width"],
        image2: Float[Tensor, "batch 3 height width"],
        *,
        noise: Float[Tensor, "batch tokens"] | None = None,
    ) -> CroCoOutput:
        """Hide patches of image 1 (also in eval mode) and predict them.

        Args:
            image1: Images to complete.
            image2: Other views of the same scenes.
            noise: Uniform random numbers that decide what is hidden (`random_mask`); None: fresh ones.
        """
        if noise is None:
            noise = torch.rand(image1.shape[0], self.patch_embed.num_patches, device=image1.device)
        mask = random_mask(noise, self.num_hidden)
        tokens1, positions1 = self.encode(image1, mask)
        tokens2, positions2 = self.encode(image2)
        decoded = self.decode(tokens1, positions1, tokens2, positions2, mask)
        return CroCoOutput(self.prediction_head(decoded), mask, patchify(image1, self.patch_size))

    def encode(
        self,
        image: Float[Tensor, "batch 3 height width"],
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Float[Tensor, "batch visible dim"], Int[Tensor, "batch tokens 2"]]:
        """Encode the visible tokens of a batch of images.

        Args:
            image: Normalised images.
            mask: True where a token is hidden, equally many in every image; None: all are visible.

        Returns:
            The visible tokens in their order after ``enc_norm``, and the positions of ALL tokens.
        """
        outputs, positions = self.encode_blocks(image, mask)
        return outputs[-1], positions

    def encode_blocks(
        self,
        image: Float[Tensor, "batch 3 height width"],
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[list[Float[Tensor, "batch visible dim"]], Int[Tensor, "batch tokens 2"]]:
        """Do as `encode`, but give the output of every block; only the last one is normalised."""
        tokens, positions = self.embed_image(image)
        visible_positions = positions
        if mask is not None:
            tokens, visible_positions = _visible(tokens, mask), _visible(positions, mask)
        outputs = []
        for block in self.enc_blocks:
            tokens = self.run_block(block, tokens, visible_positions)
            outputs.append(tokens)
        return [*outputs[:-1], self.enc_norm(tokens)], positions

    def decode(
        self,
        tokens1: Float[Tensor, "batch visible enc_dim"],
        positions1: Int[Tensor, "batch tokens1 2"],
        tokens2: Float[Tensor, "batch tokens2 enc_dim"],
        positions2: Int[Tensor, "batch tokens2 2"],
        mask: Bool[Tensor, "batch tokens1"] | None = None,
    ) -> Float[Tensor, "batch tokens1 dec_dim"]:
        """Complete image 1 with image 2 as memory.

        Args:
            tokens1: Encoded visible tokens of image 1.
            positions1: Positions of all tokens of image 1.
            tokens2: All encoded tokens of image 2.
            positions2: Their positions.
            mask: True where a token of image 1 is hidden; None: all are visible.

        Returns:
            The tokens of image 1 after ``dec_norm``.
        """
        return self.decode_blocks(tokens1, positions1, tokens2, positions2, mask)[-1]

    def decode_blocks(
        self,
        tokens1: Float[Tensor, "batch visible enc_dim"],
        positions1: Int[Tensor, "batch tokens1 2"],
        tokens2: Float[Tensor, "batch tokens2 enc_dim"],
        positions2: Int[Tensor, "batch tokens2 2"],
        mask: Bool[Tensor, "batch tokens1"] | None = None,
    ) -> list[Float[Tensor, "batch tokens1 dec_dim"]]:
        """Do as `decode`, but give the output of every block; only the last one is normalised."""
        stream, memory = self.decoder_embed(tokens1), self.decoder_embed(tokens2)
        if mask is not None:
            stream = self._insert_mask_tokens(stream, mask)
        if self.dec_pos_embed is not None:
            stream, memory = stream + self.dec_pos_embed, memory + self.dec_pos_embed
        outputs = []
        for block in self.dec_blocks:
            stream, memory = self.run_block(block, stream, memory, positions1, positions2)
            outputs.append(stream)
        return [*outputs[:-1], self.dec_norm(stream)]

    def _insert_mask_tokens(self, visible: Tensor, mask: Tensor) -> Tensor:
        full = self.mask_token.to(visible.dtype).repeat(*mask.shape, 1)
        full[~mask] = visible.flatten(0, 1)
        return full


def _visible(values: Tensor, mask: Tensor) -> Tensor:
    batch, tokens = mask.shape
    if values.shape[:2] != mask.shape:
        raise ValueError(
            f"the mask is for {batch} images of {tokens} tokens, got {values.shape[0]} of {values.shape[1]}"
        )
    return values[~mask].view(batch, -1, values.shape[-1])
