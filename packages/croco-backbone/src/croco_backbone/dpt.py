"""The dense prediction transformer's convolutional head (spec 10 section 7.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu


class ResidualConvUnit(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, added to the un-rectified input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Float[Tensor, "batch dim h w"]) -> Float[Tensor, "batch dim h w"]:
        # Only tensors made here are rectified in place: x itself is needed for the sum.
        return self.conv2(self.conv1(relu(x)).relu_()) + x


class FeatureFusion(nn.Module):
    """Add a finer map to a coarse one, refine the sum and double its resolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        self.resConfUnit1 = ResidualConvUnit(features)
        self.resConfUnit2 = ResidualConvUnit(features)

    def forward(
        self, x: Float[Tensor, "batch dim h w"], skip: Float[Tensor, "batch dim h w"] | None = None
    ) -> Float[Tensor, "batch dim 2*h 2*w"]:
        if skip is not None:
            x = x + self.resConfUnit1(skip)
        # The definition has the 1x1 convolution last. It commutes with interpolation, whose weights sum to 1
        # at every pixel, and costs a quarter on the small map.
        x = self.out_conv(self.resConfUnit2(x))
        return _upsample(x, (2 * x.shape[-2], 2 * x.shape[-1]))


class Scratch(nn.Module):
    """The parts of DPT made anew for it: bring four maps to one width, then fuse them.

    ``layer_rn.{0..3}`` are the same modules as ``layer{1..4}_rn``: upstream's state dicts have both names.
    """

    def __init__(self, layer_dims: Sequence[int], features: int) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(dim, features, 3, padding=1, bias=False) for dim in layer_dims
        )
        self.layer_rn = nn.ModuleList([self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn])
        self.refinenet1 = FeatureFusion(features)
        self.refinenet2 = FeatureFusion(features)
        self.refinenet3 = FeatureFusion(features)
        # Its resConfUnit1 is never used (nothing is coarser), but is part of every checkpoint.
        self.refinenet4 = FeatureFusion(features)

    def forward(self, layers: Sequence[Tensor]) -> Float[Tensor, "batch features h w"]:
        """Fuse four maps, finest first."""
        fine, medium, base, coarse = (conv(layer) for conv, layer in zip(self.layer_rn, layers, strict=True))
        # The coarsest map rounds odd grids up; after doubling it is cut back to the token grid.
        path = self.refinenet4(coarse)[..., : base.shape[-2], : base.shape[-1]]
        path = self.refinenet3(path, base)
        path = self.refinenet2(path, medium)
        return self.refinenet1(path, fine)


class DPTAdapter(nn.Module):
    """Turn the tokens of four layers into a dense map at the resolution of the image.

    Everything runs in channels-last memory: tokens are already so, and convolutions are faster.

    Args:
        num_channels: Channels of the output.
        stride_level: Only 1.
        patch_size: Side of a patch in pixels; the last up-sampling is by patch_size / 8.
        hooks: Which four entries of the list of tokens to use, finest map first.
        layer_dims: Widths of the four maps before they are brought to ``feature_dim``.
        feature_dim: Width of the fusion.
        last_dim: Width before the last convolution.
        use_bn: Only False.
        dim_tokens_enc: Widths of the tokens at the four hooks, or one number for all.
        head_type: Only ``'regression'``.
        output_width_ratio: Only 1.

    Raises:
        ValueError: For a value that this head does not support.
    """

    def __init__(
        self,
        num_channels: int = 1,
        stride_level: int = 1,
        patch_size: int | Sequence[int] = 16,
        hooks: Sequence[int] = (2, 5, 8, 11),
        layer_dims: Sequence[int] = (96, 192, 384, 768),
        feature_dim: int = 256,
        last_dim: int = 32,
        use_bn: bool = False,
        dim_tokens_enc: int | Sequence[int] = 768,
        head_type: Literal["regression"] = "regression",
        output_width_ratio: int = 1,
    ) -> None:
        super().__init__()
        if (stride_level, use_bn, head_type, output_width_ratio) != (1, False, "regression", 1):
            raise ValueError(
                "only stride_level=1, use_bn=False, head_type='regression', output_width_ratio=1 are "
                f"supported, got {stride_level}, {use_bn}, {head_type!r}, {output_width_ratio}"
            )
        if isinstance(dim_tokens_enc, int):
            dim_tokens_enc = (dim_tokens_enc,) * 4
        for name, values in (
            ("hooks", hooks),
            ("layer_dims", layer_dims),
            ("dim_tokens_enc", dim_tokens_enc),
        ):
            if len(values) != 4:
                raise ValueError(f"DPT reads four layers: {name} must have 4 entries, got {list(values)}")
        self.patch_size = patch_size if isinstance(patch_size, int) else patch_size[0]
        self.hooks = tuple(hooks)
        self.dim_tokens_enc = tuple(dim_tokens_enc)
        self.scratch = Scratch(layer_dims, feature_dim)
        # Indices 1 and 3 are upstream's up-sampling and ReLU: no parameters, but they number the others.
        self.head = nn.Sequential(
            nn.Conv2d(feature_dim, feature_dim // 2, 3, padding=1),
            nn.Identity(),
            nn.Conv2d(feature_dim // 2, last_dim, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(last_dim, num_channels, 1),
        )
        self.act_postprocess = _reassembly(self.dim_tokens_enc, layer_dims)

    def forward(
        self, tokens: Sequence[Float[Tensor, "batch tokens dim"]], image_size: tuple[int, int]
    ) -> Float[Tensor, "batch num_channels height width"]:
        """Predict a dense map.

        Args:
            tokens: Outputs of the encoder and of the decoder's blocks; the four at ``hooks`` are used.
            image_size: (height, width) of the image in pixels.

        Returns:
            The raw map (no activation), in channels-last memory.

        Raises:
            ValueError: If the tokens do not fit the hooks or the image.
        """
        rows, columns = image_size[0] // self.patch_size, image_size[1] // self.patch_size
        self._check(tokens, image_size, rows * columns)
        layers = [
            # The permutation makes channels-last views of contiguous tokens: nothing is copied.
            reassemble(rearrange(tokens[hook], "b (h w) c -> b c h w", h=rows, w=columns))
            for hook, reassemble in zip(self.hooks, self.act_postprocess, strict=True)
        ]
        x = self.head[0](self.scratch(layers))
        x = _upsample(x, (self.patch_size * rows, self.patch_size * columns))
        return self.head[4](self.head[3](self.head[2](x)))

    def _check(self, tokens: Sequence[Tensor], image_size: tuple[int, int], expected: int) -> None:
        if max(self.hooks) >= len(tokens):
            raise ValueError(
                f"DPT reads the outputs {self.hooks} of a list, got {len(tokens)}: the decoder is too shallow"
            )
        found = tokens[self.hooks[0]].shape[1]
        if found != expected or not expected:
            raise ValueError(
                f"{found} tokens do not cover an image of {image_size[0]}x{image_size[1]} pixels in patches "
                f"of {self.patch_size} ({expected} tokens)"
            )


def _reassembly(dim_tokens: Sequence[int], dims: Sequence[int]) -> nn.ModuleList:
    """Make the four paths from tokens to maps at 4, 2, 1 and 1/2 times the token grid."""
    return nn.ModuleList(
        [
            nn.Sequential(
                nn.Conv2d(dim_tokens[0], dims[0], 1), nn.ConvTranspose2d(dims[0], dims[0], 4, stride=4)
            ),
            nn.Sequential(
                nn.Conv2d(dim_tokens[1], dims[1], 1), nn.ConvTranspose2d(dims[1], dims[1], 2, stride=2)
            ),
            nn.Sequential(nn.Conv2d(dim_tokens[2], dims[2], 1)),
            nn.Sequential(
                nn.Conv2d(dim_tokens[3], dims[3], 1), nn.Conv2d(dims[3], dims[3], 3, stride=2, padding=1)
            ),
        ]
    )


def _upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(x, size=size, mode="bilinear", align_corners=True)
