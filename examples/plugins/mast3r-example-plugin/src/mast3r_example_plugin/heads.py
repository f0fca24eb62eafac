"""A head: two linear layers turn each token of the last decoder block into the points of its patch."""

from __future__ import annotations

from torch import Tensor, nn

from mast3r_model import HeadPair, HeadSpec, output_maps, tokens_to_map


class TokenMlpHead(nn.Module):
    """Points and confidences of one view.

    Args:
        spec: sizes of the network and the ranges of its outputs.
    """

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.Sequential(
            nn.Linear(spec.dec_embed_dim, 2 * spec.dec_embed_dim),
            nn.GELU(),
            nn.Linear(2 * spec.dec_embed_dim, spec.point_channels * spec.patch_size**2),
        )

    def forward(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: object = None
    ) -> dict[str, Tensor]:
        """Maps ``pts3d`` (batch, height, width, 3) and ``conf`` (batch, height, width).

        Args:
            decoder_outputs: tokens (batch, tokens, channels) of the encoder and of every decoder block.
            image_shape: (height, width) in pixels.
            local: feature maps of the image, for heads that ask for them; this one does not.
        """
        patch = self.spec.patch_size
        grid = (image_shape[0] // patch, image_shape[1] // patch)
        points = tokens_to_map(self.layers(decoder_outputs[-1]), grid, patch)
        return output_maps(points, None, self.spec)


def token_mlp_heads(spec: HeadSpec) -> HeadPair:
    """The factory that the plugin registers: two heads, one per view, with weights of their own."""
    spec.require_points_only("token-mlp")
    return HeadPair(TokenMlpHead(spec), TokenMlpHead(spec))
