"""Head 'dpt': points by a dense prediction transformer (spec 10 sections 7.3 and 7.4)."""

from __future__ import annotations

from torch import Tensor, nn

from croco_backbone import DPTAdapter
from mast3r_model.errors import ConfigError

from .postprocess import output_maps
from .spec import HeadPair, HeadSpec, LocalMaps

_LAYER_DIMS = (96, 192, 384, 768)
_FEATURE_DIM = 256
_LAST_DIM = 128
_SMALLEST_DEPTH = 10


def dpt_adapter(spec: HeadSpec, head_type: str) -> DPTAdapter:
    """The DPT that both 'dpt' and 'catmlp+dpt' use; its widths do not scale with the network.

    Raises:
        ConfigError: a decoder with fewer than 10 blocks: its hooks would not be at different depths.
    """
    depth = spec.dec_depth
    if depth < _SMALLEST_DEPTH:
        raise ConfigError(
            f"head {head_type!r} needs dec_depth > {_SMALLEST_DEPTH - 1}, got {depth}",
            hint="give a deeper decoder, or the head 'linear' (points), 'catconv' or 'nano' (MASt3R)",
        )
    return DPTAdapter(
        num_channels=spec.point_channels,
        patch_size=spec.patch_size,
        hooks=[0, 2 * depth // 4, 3 * depth // 4, depth],
        layer_dims=list(_LAYER_DIMS),
        feature_dim=_FEATURE_DIM,
        last_dim=_LAST_DIM,
        dim_tokens_enc=[spec.enc_embed_dim, spec.dec_embed_dim, spec.dec_embed_dim, spec.dec_embed_dim],
    )


class DPTHead(nn.Module):
    """Points and confidence from four depths of the decoder; called as :class:`HeadPair` says."""

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.dpt = dpt_adapter(spec, "dpt")

    def forward(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None = None
    ) -> dict[str, Tensor]:
        points = self.dpt(decoder_outputs, image_shape)
        return output_maps(points.permute(0, 2, 3, 1), None, self.spec)


def dpt_heads(spec: HeadSpec) -> HeadPair:
    """Factory of the head 'dpt'; points only."""
    spec.require_points_only("dpt")
    return HeadPair(DPTHead(spec), DPTHead(spec))
