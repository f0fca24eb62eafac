"""Points that float in front of what a more sure image sees lose their confidence (spec 30 section 7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .result import lift_depth


def clean_confidences(
    depths: Sequence[Float[Tensor, "h w"]],
    confidences: Sequence[Float[Tensor, "h w"]],
    intrinsics: Float[Tensor, "images 3 3"],
    cam2world: Float[Tensor, "images 4 4"],
    *,
    pairs: Iterable[tuple[int, int]] | None = None,
    tolerance: float = 0.001,
    bad_confidence: float = 0.0,
    in_order: bool = False,
) -> tuple[Float[Tensor, "h w"], ...]:
    """Lower the confidence of points that lie before another image's surface and are less sure than it.

    Args:
        depths: per image (height, width), camera z.
        confidences: per image (height, width).
        intrinsics: network pixels.
        cam2world: of every camera.
        pairs: images that overlap, in any order; None compares all with all.
        tolerance: how far in front, as a part of the depth.
        bad_confidence: what such points' confidences are lowered to.
        in_order: compare with images before the current one as already cleaned, as upstream does, which
            makes the result depend on the images' order.

    Returns:
        New confidences.
    """
    count = len(depths)
    if pairs is None:
        pairs = [(i, j) for i in range(count) for j in range(i)]
    partners: list[set[int]] = [set() for _ in range(count)]
    for i, j in pairs:
        partners[i].add(j)
        partners[j].add(i)
    cleaned = list(confidences)
    world2cam = torch.linalg.inv(cam2world)
    for i in range(count):
        points = lift_depth(depths[i], intrinsics[i], cam2world[i]).reshape(-1, 3)
        bad = torch.zeros_like(points[:, 0], dtype=torch.bool)
        for j in sorted(partners[i] - {i}):
            other = cleaned[j] if in_order else confidences[j]
            bad |= _in_front(
                points, confidences[i].flatten(), depths[j], other, intrinsics[j], world2cam[j], tolerance
            )
        lowered = confidences[i].clamp(max=bad_confidence)
        cleaned[i] = torch.where(bad.reshape(depths[i].shape), lowered, confidences[i])
    return tuple(cleaned)


def _in_front(
    points: Float[Tensor, "n 3"],
    conf: Float[Tensor, " n"],
    depth: Float[Tensor, "h w"],
    other_conf: Float[Tensor, "h w"],
    intrinsics: Float[Tensor, "3 3"],
    world2cam: Float[Tensor, "4 4"],
    tolerance: float,
) -> Tensor:
    """Which points lie before the other image's surface and are less sure than it."""
    height, width = depth.shape
    local = points @ world2cam[:3, :3].T + world2cam[:3, 3]
    z = local[:, 2]
    pixels = (local @ intrinsics.T)[:, :2] / z[:, None]
    u, v = pixels.nan_to_num(-1, -1, -1).round().unbind(-1)
    inside = (z > 0) & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    index = torch.where(inside, v * width + u, 0).long()
    before = z < (1 - tolerance) * depth.flatten()[index]
    return inside & before & (conf < other_conf.flatten()[index])
