"""Head 'linear': points by one linear layer per token (spec 10 section 7.2)."""

from __future__ import annotations

from torch import Tensor, nn

from .postprocess import output_maps
from .shuffle import tokens_to_map
from .spec import HeadPair, HeadSpec, LocalMaps


class LinearHead(nn.Module):
    """Points and confidence of a token's pixels from the token alone; called as :class:`HeadPair` says."""

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.proj = nn.Linear(spec.dec_embed_dim, spec.point_channels * spec.patch_size**2)

    def forward(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None = None
    ) -> dict[str, Tensor]:
        patch = self.spec.patch_size
        grid = (image_shape[0] // patch, image_shape[1] // patch)
        points = tokens_to_map(self.proj(decoder_outputs[-1]), grid, patch)
        return output_maps(points, None, self.spec)


def linear_heads(spec: HeadSpec) -> HeadPair:
    """Factory of the head 'linear'; points only."""
    spec.require_points_only("linear")
    return HeadPair(LinearHead(spec), LinearHead(spec))
