"""MASt3R: DUSt3R with descriptors (spec 10 section 5)."""

from __future__ import annotations

from typing import Any, ClassVar

from mast3r_model.config import Architecture

from .stereo import AsymmetricCroCo3DStereo


class AsymmetricMASt3R(AsymmetricCroCo3DStereo):
    """From two images to metric points in view 1's frame, and matchable descriptors, per pixel.

    Args:
        **keywords: fields of :class:`ModelConfig`, for instance ``pos_embed='RoPE100', img_size=(512, 512),
            head_type='catmlp+dpt', output_mode='pts3d+desc24', two_confs=True``.

    Raises:
        ConfigError: keywords that no network can be built from.
    """

    architecture: ClassVar[Architecture] = "AsymmetricMASt3R"

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.desc_mode = self.config.desc_mode
        self.two_confs = self.config.two_confs
        self.desc_conf_mode = self.config.desc_conf_mode or self.config.conf_mode
