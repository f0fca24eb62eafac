"""From images to patch tokens and their positions (spec 10 section 2)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from croco_backbone.positions import token_positions


class PatchEmbed(nn.Module):
    """One token per square patch, by a strided convolution; takes images of exactly ``img_size``.

    Args:
        img_size: (height, width) of the images in pixels, or one number for both.
        patch_size: Side of a patch in pixels.
        in_chans: Channels of the images.
        embed_dim: Width of the tokens.

    Attributes:
        img_size: (height, width) in pixels.
        patch_size: (patch, patch) in pixels.
        grid_size: (rows, columns) of tokens of an image of ``img_size``.
        num_patches: How many tokens that is.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] | list[int] = 224,
        patch_size: int | tuple[int, int] | list[int] = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
    ) -> None:
        super().__init__()
        self.img_size = _pair(img_size, "img_size")
        self.patch_size = _pair(patch_size, "patch_size")
        if self.patch_size[0] != self.patch_size[1]:
            raise ValueError(f"patches must be square, got patch_size={self.patch_size}")
        patch = self.patch_size[0]
        self.grid_size = (self.img_size[0] // patch, self.img_size[1] // patch)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch, stride=patch)

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        true_shape: Int[Tensor, "batch 2"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Int[Tensor, "batch tokens 2"]]:
        """Embed the patches of a batch of images.

        Args:
            image: The images.
            true_shape: Not used here; (height, width) of each image as it was shot, see `ManyARPatchEmbed`.

        Returns:
            The tokens in row-major order, and their (row, column).

        Raises:
            ValueError: If this embedding does not take images of this size.
        """
        self._check(image)
        return self._embed(image)

    def _check(self, image: Tensor) -> None:
        if tuple(image.shape[-2:]) != self.img_size:
            raise ValueError(
                f"this model takes images of {_size(self.img_size)} pixels (height x width), got "
                f"{_size(image.shape[-2:])}: resize the images, or build the model with that img_size"
            )

    def _embed(self, image: Tensor) -> tuple[Tensor, Tensor]:
        grid = self.proj(image)
        batch, _, rows, columns = grid.shape
        # Contiguous, or every residual sum after this would keep the channels-first strides.
        return grid.flatten(2).transpose(1, 2).contiguous(), token_positions(
            batch, rows, columns, device=image.device
        )


class PatchEmbedDust3R(PatchEmbed):
    """The same for images of any size that is a multiple of the patch, in their natural orientation."""

    def _check(self, image: Tensor) -> None:
        patch = self.patch_size[0]
        height, width = image.shape[-2:]
        if height % patch or width % patch or not (height and width):
            nearest = tuple(max(patch, side // patch * patch) for side in (height, width))
            raise ValueError(
                f"image of {_size((height, width))} pixels (height x width): both sides must be a multiple "
                f"of the patch size {patch}; crop or resize it, for instance to {_size(nearest)}"
            )


class ManyARPatchEmbed(PatchEmbedDust3R):
    """Landscape and portrait images in one batch, all stored in landscape layout.

    A portrait image (height > width in ``true_shape``) is stored with its two spatial axes swapped. It is
    turned back here, so that its tokens and positions are those of the upright image.
    """

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        true_shape: Int[Tensor, "batch 2"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Int[Tensor, "batch tokens 2"]]:
        """Embed the patches of a batch of images in landscape layout.

        Args:
            image: The images; width >= height.
            true_shape: (height, width) of each image as it was shot, on any device; None: all as stored.

        Returns:
            The tokens in the dtype of the images, row-major in each image's own orientation, and their
            (row, column) there.
        """
        self._check(image)
        batch, _, height, width = image.shape
        if width < height:
            raise ValueError(
                f"images must be stored in landscape layout here, got {_size((height, width))} (height x "
                "width): swap the spatial axes of portrait images and keep their size in true_shape"
            )
        if true_shape is None:
            portrait = torch.zeros(batch, dtype=torch.bool)
        elif true_shape.shape != (batch, 2):
            raise ValueError(
                f"true_shape must be ({batch}, 2), one (height, width) per image, got "
                f"{tuple(true_shape.shape)}"
            )
        else:
            portrait = true_shape[:, 0] > true_shape[:, 1]
        if not portrait.any():
            tokens, positions = self._embed(image)
        elif portrait.all():
            tokens, positions = self._embed(image.transpose(2, 3))
        else:
            tokens, positions = self._embed_mixed(image, portrait.to(image.device))
        # Under autocast the token stream starts in the images' precision, unlike PatchEmbedDust3R.
        return tokens.to(image.dtype), positions

    def _embed_mixed(self, image: Tensor, portrait: Tensor) -> tuple[Tensor, Tensor]:
        landscape_tokens, landscape_positions = self._embed(image[~portrait])
        portrait_tokens, portrait_positions = self._embed(image[portrait].transpose(2, 3))
        # Row b of the batch is at place order[b] of "all landscape images, then all portrait ones".
        order = portrait.to(torch.int8).argsort(stable=True).argsort()
        tokens = torch.cat([landscape_tokens, portrait_tokens])[order]
        positions = torch.cat([landscape_positions, portrait_positions])[order]
        return tokens, positions


PATCH_EMBEDS: dict[str, type[PatchEmbed]] = {
    "PatchEmbed": PatchEmbed,
    "PatchEmbedDust3R": PatchEmbedDust3R,
    "ManyAR_PatchEmbed": ManyARPatchEmbed,
}
"""The patch embeddings by the name that configurations give them."""


def _pair(value: int | tuple[int, int] | list[int], name: str) -> tuple[int, int]:
    sides = (value, value) if isinstance(value, int) else tuple(value)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise ValueError(
            f"{name} must be a positive integer or a pair (height, width) of them, got {value!r}"
        )
    return sides[0], sides[1]


def _size(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(str(side) for side in shape)
