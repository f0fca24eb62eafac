"""Head 'catconv': points by an MLP and two convolutions, descriptors by an MLP (spec 10 section 7.7)."""

from __future__ import annotations

from torch import Tensor, nn

from mast3r_model.errors import ConfigError

from .feature_mlp import concatenated_tokens, feature_mlp
from .postprocess import descriptor_maps, output_maps
from .shuffle import tokens_to_map
from .spec import HeadPair, HeadSpec, LocalMaps

_POINT_FEATURES = 24
_HIDDEN = 100


class PointsMlpConv(nn.Module):
    """Raw point maps from tokens: an MLP to half resolution, then convolutions at full resolution."""

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        width = _POINT_FEATURES + spec.has_conf
        self.mlp = feature_mlp(spec, width, spec.patch_size // 2)
        self.head = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(width, _HIDDEN, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(_HIDDEN, spec.point_channels, kernel_size=1),
        )

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (batch, tokens, channels) to a raw map (batch, height, width, 3 or 4)."""
        halved = tokens_to_map(self.mlp(tokens), grid, self.spec.patch_size // 2)
        return self.head(halved.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class CatConvHead(nn.Module):
    """Points, descriptors and their confidences; called as :class:`HeadPair` says."""

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.head_pts3d = PointsMlpConv(spec)
        self.head_local_features = feature_mlp(spec, spec.descriptor_channels, spec.patch_size)

    def forward(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None = None
    ) -> dict[str, Tensor]:
        grid = self._grid(image_shape)
        tokens = concatenated_tokens(decoder_outputs)
        return output_maps(self.head_pts3d(tokens, grid), self._raw_descriptors(tokens, grid), self.spec)

    def describe(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None = None
    ) -> dict[str, Tensor]:
        """Descriptors alone."""
        tokens = concatenated_tokens(decoder_outputs)
        return descriptor_maps(self._raw_descriptors(tokens, self._grid(image_shape)), self.spec)

    def _grid(self, image_shape: tuple[int, int]) -> tuple[int, int]:
        return image_shape[0] // self.spec.patch_size, image_shape[1] // self.spec.patch_size

    def _raw_descriptors(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return tokens_to_map(self.head_local_features(tokens), grid, self.spec.patch_size)


def catconv_heads(spec: HeadSpec) -> HeadPair:
    """Factory of the head 'catconv'; the patch must be even."""
    spec.require_descriptors("catconv")
    if spec.patch_size % 2:
        raise ConfigError(f"head 'catconv' needs an even patch_size, got {spec.patch_size}")
    return HeadPair(CatConvHead(spec), CatConvHead(spec))
