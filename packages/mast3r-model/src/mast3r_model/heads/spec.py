"""What a head is told, and what it must return: the contract of the plugin kind "heads"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from mast3r_model.config import ModelConfig, ValueMode
from mast3r_model.errors import ConfigError

LocalMaps: TypeAlias = tuple[Tensor, ...]
"""Feature maps (batch, channels, height, width) that a head's local module makes of the image alone."""


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """The part of a network's configuration that its heads depend on (spec 10 section 7)."""

    enc_embed_dim: int
    dec_embed_dim: int
    dec_depth: int
    patch_size: int
    output_mode: str
    depth_mode: ValueMode
    conf_mode: ValueMode | None
    desc_mode: str
    desc_conf_mode: ValueMode | None  # already resolved: never None where two_confs is set
    two_confs: bool
    has_conf: bool
    desc_dim: int | None

    @classmethod
    def from_config(cls, config: ModelConfig) -> HeadSpec:
        """The heads' view of a network's configuration."""
        return cls(
            enc_embed_dim=config.enc_embed_dim,
            dec_embed_dim=config.dec_embed_dim,
            dec_depth=config.dec_depth,
            patch_size=config.patch_size,
            output_mode=config.output_mode,
            depth_mode=config.depth_mode,
            conf_mode=config.conf_mode,
            desc_mode=config.desc_mode,
            desc_conf_mode=config.desc_conf_mode or config.conf_mode,
            two_confs=config.two_confs,
            has_conf=config.conf_mode is not None,
            desc_dim=config.desc_dim,
        )

    @property
    def point_channels(self) -> int:
        """Raw channels of a point map: three coordinates and, if asked for, their confidence."""
        return 3 + self.has_conf

    @property
    def descriptor_channels(self) -> int:
        """Raw channels of the descriptors: their numbers and, with two_confs, their confidence."""
        return (self.desc_dim or 0) + self.two_confs

    def require_points_only(self, head_type: str) -> None:
        """Refuse descriptors, for heads that have none."""
        if self.desc_dim is not None:
            raise ConfigError(
                f"head {head_type!r} predicts no descriptors, but output_mode is {self.output_mode!r}",
                hint="MASt3R needs a head with descriptors: 'catmlp+dpt', 'catconv' or 'nano'",
            )

    def require_descriptors(self, head_type: str) -> int:
        """The descriptors' size, for heads that always have them."""
        if self.desc_dim is None:
            raise ConfigError(
                f"head {head_type!r} predicts descriptors, but output_mode is {self.output_mode!r}",
                hint="give output_mode='pts3d+desc24', or the head 'dpt' or 'linear' for points alone",
            )
        return self.desc_dim


@dataclass(frozen=True)
class HeadPair:
    """The modules that a head's factory makes for one network.

    Attributes:
        head1: for view 1, called as ``head(decoder_outputs, image_shape, local)`` with the encoder's output
            and those of all decoder blocks, each (batch, tokens, channels), the image's (height, width) in
            its natural orientation, and the local maps of that view (None without a local module). Returns
            channel-last float32 maps ``pts3d`` (batch, height, width, 3) and, where the configuration has
            them, ``conf``, ``desc`` (.., D) and ``desc_conf``. A head may also have a method ``describe``
            of the same arguments that returns ``desc`` and ``desc_conf`` alone, without computing points.
        head2: the same for view 2, with weights of its own; its points are in view 1's camera frame.
        local: maps images (batch, 3, height, width) to feature maps, once per image however many pairs
            it is in.
    """

    head1: nn.Module
    head2: nn.Module
    local: nn.Module | None = None


HeadFactory: TypeAlias = Callable[[HeadSpec], HeadPair]
