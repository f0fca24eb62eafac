"""Head 'nano', the project's own: convolutions on the image meet the transformer's tokens (spec 70).

Local texture reaches the descriptors through the convolutional stem; the tokens say what and where.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mast3r_model.errors import ConfigError

from .postprocess import descriptor_maps, output_maps
from .shuffle import tokens_to_map
from .spec import HeadPair, HeadSpec, LocalMaps

_HALF = 32
"""Channels at half of the image's resolution."""
_QUARTER = 64
"""Channels at a quarter of the image's resolution."""
_DESCRIPTOR = 48
"""Channels at half resolution from which descriptors are made."""
_GROUP = 8
"""Channels per group of the group norms."""


_TOKEN_GAIN = 0.1
"""Weight of the tokens at the start: texture alone tells many pixels apart, random tokens only blur it."""


@torch.no_grad()
def _start_without_phase(layer: nn.Linear | nn.Conv2d, *, cells: int, gain: float = 1.0) -> None:
    """Let all cells that one vector unfolds into start equal.

    Else a pixel's first descriptor would depend on its place in the patch more than on what it shows, and
    training would begin by unlearning that, with all descriptors collapsed to one.
    """
    for parameter in (layer.weight, layer.bias):
        # Arithmetic on meta tensors, on which checkpoints are loaded, would import torch's compiler: seconds.
        if parameter is not None and not parameter.is_meta:
            grouped = parameter.reshape(-1, cells, *parameter.shape[1:])
            parameter.copy_((grouped[:, :1] * gain).expand_as(grouped).flatten(0, 1))


class ResidualConv(nn.Module):
    """Two normalised 3x3 convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(channels // _GROUP, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(channels // _GROUP, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        hidden = self.conv1(functional.gelu(self.norm1(x)))
        return x + self.conv2(functional.gelu(self.norm2(hidden)))


class LocalStem(nn.Module):
    """From an image to feature maps at 1/2 (32 channels) and 1/4 (64 channels) of its resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.to_half = nn.Conv2d(3, _HALF, 5, stride=2, padding=2)
        self.at_half = ResidualConv(_HALF)
        self.to_quarter = nn.Conv2d(_HALF, _QUARTER, 3, stride=2, padding=1)
        self.at_quarter = nn.Sequential(ResidualConv(_QUARTER), ResidualConv(_QUARTER))

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> LocalMaps:
        image = image.contiguous(memory_format=torch.channels_last)
        half = self.at_half(self.to_half(image))
        return half, self.at_quarter(self.to_quarter(half))


class UpTrunk(nn.Module):
    """From the fused map at 1/4 to raw values per pixel: double, add the stem's 1/2 map, unfold by two."""

    def __init__(self, out_channels: int, *, hidden: int) -> None:
        super().__init__()
        # Before the up-sampling, with which it commutes, a 1x1 convolution costs a quarter.
        self.narrow = nn.Conv2d(_QUARTER, hidden, 1)
        self.local = nn.Conv2d(_HALF, hidden, 1)
        self.norm = nn.GroupNorm(hidden // _GROUP, hidden)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.out = nn.Conv2d(hidden, 4 * out_channels, 1)
        _start_without_phase(self.out, cells=4)

    def forward(
        self, quarter: Float[Tensor, "batch c h w"], local_half: Float[Tensor, "batch d 2*h 2*w"]
    ) -> Float[Tensor, "batch 4*h 4*w out_channels"]:
        coarse = self.narrow(quarter)
        half = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        half = half + self.local(local_half)
        half = functional.gelu(self.conv(functional.gelu(self.norm(half))))
        raw = self.out(half).permute(0, 2, 3, 1).flatten(1, 2)
        return tokens_to_map(raw, (half.shape[-2], half.shape[-1]), 2)


class NanoHead(nn.Module):
    """Points, descriptors and their confidences; called as :class:`HeadPair` says."""

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.cells = spec.patch_size // 4
        self.tokens = nn.Linear(spec.enc_embed_dim + spec.dec_embed_dim, _QUARTER * self.cells**2)
        _start_without_phase(self.tokens, cells=self.cells**2, gain=_TOKEN_GAIN)
        self.local_quarter = nn.Conv2d(_QUARTER, _QUARTER, 1)
        self.fuse = ResidualConv(_QUARTER)
        self.points = UpTrunk(spec.point_channels, hidden=_HALF)
        self.descriptors = UpTrunk(spec.descriptor_channels, hidden=_DESCRIPTOR)

    def forward(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None = None
    ) -> dict[str, Tensor]:
        fused, half = self._fuse(decoder_outputs, image_shape, local)
        return output_maps(self.points(fused, half), self.descriptors(fused, half), self.spec)

    def describe(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None = None
    ) -> dict[str, Tensor]:
        """Descriptors alone."""
        return descriptor_maps(self.descriptors(*self._fuse(decoder_outputs, image_shape, local)), self.spec)

    def _fuse(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None
    ) -> tuple[Tensor, Tensor]:
        """The map at 1/4 in which tokens and local maps meet, and the local map at 1/2."""
        if local is None:
            raise ValueError("the head 'nano' needs the maps of its local module")
        half, quarter = local
        grid = (image_shape[0] // self.spec.patch_size, image_shape[1] // self.spec.patch_size)
        tokens = self.tokens(torch.cat([decoder_outputs[0], decoder_outputs[-1]], dim=-1))
        cells = tokens_to_map(tokens, grid, self.cells).permute(0, 3, 1, 2)
        return self.fuse(cells + self.local_quarter(quarter)), half


def nano_heads(spec: HeadSpec) -> HeadPair:
    """Factory of the head 'nano'; needs descriptors and a patch size that is a multiple of 4."""
    spec.require_descriptors("nano")
    if spec.patch_size % 4:
        raise ConfigError(f"head 'nano' needs a patch_size that is a multiple of 4, got {spec.patch_size}")
    head = NanoHead(spec)
    # Both heads start equal, as both decoders do: equal texture has equal descriptors from the first step on.
    return HeadPair(head, deepcopy(head), LocalStem())
