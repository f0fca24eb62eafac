"""Head 'catmlp+dpt', the official MASt3R's: points by DPT, descriptors by an MLP (spec 10 section 7.6)."""

from __future__ import annotations

from torch import Tensor, nn

from .dpt import dpt_adapter
from .feature_mlp import concatenated_tokens, feature_mlp
from .postprocess import descriptor_maps, output_maps
from .shuffle import tokens_to_map
from .spec import HeadPair, HeadSpec, LocalMaps


class CatMlpDPTHead(nn.Module):
    """Points, descriptors and their confidences; called as :class:`HeadPair` says."""

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.dpt = dpt_adapter(spec, "catmlp+dpt")
        self.head_local_features = feature_mlp(spec, spec.descriptor_channels, spec.patch_size)

    def forward(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None = None
    ) -> dict[str, Tensor]:
        points = self.dpt(decoder_outputs, image_shape).permute(0, 2, 3, 1)
        return output_maps(points, self._raw_descriptors(decoder_outputs, image_shape), self.spec)

    def describe(
        self, decoder_outputs: list[Tensor], image_shape: tuple[int, int], local: LocalMaps | None = None
    ) -> dict[str, Tensor]:
        """Descriptors alone: most of the head's work is the DPT of the points."""
        return descriptor_maps(self._raw_descriptors(decoder_outputs, image_shape), self.spec)

    def _raw_descriptors(self, decoder_outputs: list[Tensor], image_shape: tuple[int, int]) -> Tensor:
        patch = self.spec.patch_size
        grid = (image_shape[0] // patch, image_shape[1] // patch)
        return tokens_to_map(self.head_local_features(concatenated_tokens(decoder_outputs)), grid, patch)


def catmlp_dpt_heads(spec: HeadSpec) -> HeadPair:
    """Factory of the head 'catmlp+dpt'."""
    spec.require_descriptors("catmlp+dpt")
    return HeadPair(CatMlpDPTHead(spec), CatMlpDPTHead(spec))
