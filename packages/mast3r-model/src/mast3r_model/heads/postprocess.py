"""From raw numbers to points, confidences and descriptors, in float32 (spec 10 sections 7.5 and 7.8)."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mast3r_model.config import ValueMode
from mast3r_model.errors import ConfigError

from .spec import HeadSpec

_SMALLEST_NORM = 1e-8


def points_from_raw(raw: Float[Tensor, "*batch 3"], mode: ValueMode) -> Float[Tensor, "*batch 3"]:
    """Scale each raw vector along its own direction.

    Args:
        raw: raw 3-vectors.
        mode: 'linear' keeps them, 'square' squares their length d, 'exp' makes it expm1(d).
    """
    if mode[0] == "linear":
        return raw
    length = raw.norm(dim=-1, keepdim=True)
    # Dividing by the clamped length, then multiplying, is upstream's order: the goldens pin it near zero.
    direction = raw / length.clamp(min=_SMALLEST_NORM)
    if mode[0] == "square":
        return direction * length.square()
    if mode[0] == "exp":
        return direction * length.expm1()
    raise ConfigError(f"unknown depth_mode {mode[0]!r}", hint="one of 'linear', 'square', 'exp'")


def confidence_from_raw(raw: Float[Tensor, "*shape"], mode: ValueMode) -> Float[Tensor, "*shape"]:
    """Map raw numbers to the confidence's range: 'exp' to [lower, upper], 'sigmoid' to (lower, upper)."""
    name, lower, upper = mode
    if name == "exp":
        value = raw.exp()
        return lower + (value if math.isinf(upper) else value.clamp(max=upper - lower))
    if name == "sigmoid":
        return lower + (upper - lower) * raw.sigmoid()
    raise ConfigError(f"unknown confidence mode {name!r}", hint="one of 'exp', 'sigmoid'")


def descriptors_from_raw(raw: Float[Tensor, "*batch D"], mode: str) -> Float[Tensor, "*batch D"]:
    """Unit descriptors; a zero vector stays zero (upstream gives NaN)."""
    if "norm" not in mode:
        raise ConfigError(f"unknown desc_mode {mode!r}", hint="'norm'")
    return functional.normalize(raw, dim=-1, eps=1e-12)


def output_maps(
    points: Float[Tensor, "batch height width point_channels"],
    descriptors: Float[Tensor, "batch height width descriptor_channels"] | None,
    spec: HeadSpec,
) -> dict[str, Tensor]:
    """The output dictionary of a head from its raw channel-last maps, of any float type.

    Args:
        points: three coordinates, then the confidence if the configuration has one.
        descriptors: the descriptor's numbers, then its confidence with `two_confs`; None without descriptors.
        spec: names the value maps.

    Returns:
        Contiguous float32 maps: ``pts3d`` (batch, height, width, 3), ``conf`` (batch, height, width),
        ``desc`` (batch, height, width, D), ``desc_conf`` (batch, height, width), those that the
        configuration has.
    """
    points = points.float()
    outputs = {"pts3d": points_from_raw(points[..., :3], spec.depth_mode).contiguous()}
    if spec.conf_mode is not None:
        outputs["conf"] = confidence_from_raw(points[..., 3], spec.conf_mode).contiguous()
    if descriptors is not None and spec.desc_dim is not None:
        outputs |= descriptor_maps(descriptors, spec)
        if not spec.two_confs:
            outputs["desc_conf"] = outputs["conf"].clone()
    return outputs


def descriptor_maps(
    descriptors: Float[Tensor, "batch height width descriptor_channels"], spec: HeadSpec
) -> dict[str, Tensor]:
    """The descriptors' part of the output dictionary; ``desc_conf`` only with `two_confs`.

    Args:
        descriptors: raw channel-last map, the descriptor's numbers, then its confidence with `two_confs`.
        spec: names the value maps, and has a `desc_dim`.
    """
    descriptors = descriptors.float()
    outputs = {"desc": descriptors_from_raw(descriptors[..., : spec.desc_dim], spec.desc_mode).contiguous()}
    if spec.two_confs and spec.desc_dim is not None and spec.desc_conf_mode is not None:
        raw = descriptors[..., spec.desc_dim]
        outputs["desc_conf"] = confidence_from_raw(raw, spec.desc_conf_mode).contiguous()
    return outputs
