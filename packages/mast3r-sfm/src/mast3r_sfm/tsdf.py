"""Depths made consistent: each pixel goes to where the weighted mean of all views' signed distances is zero.

Spec 30 section 7.4, the deterministic way: the mean truncated signed distance is sampled on a fixed grid
along each pixel's ray, and its zero crossing nearest to the pixel's depth is interpolated linearly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError


def fuse_depths(
    depths: Sequence[Float[Tensor, "h w"]],
    confidences: Sequence[Float[Tensor, "h w"]],
    intrinsics: Float[Tensor, "images 3 3"],
    cam2world: Float[Tensor, "images 4 4"],
    *,
    truncation: float,
    pairs: Iterable[tuple[int, int]] | None = None,
    samples: int = 33,
    max_confidence: float = 10.0,
    max_queries: int = 1 << 22,
) -> tuple[Float[Tensor, "h w"], ...]:
    """Move every pixel's depth, by at most ``truncation``, onto the surface that overlapping views agree on.

    Args:
        depths: per image (height, width), camera z; values that are not positive and finite count as unseen.
        confidences: per image (height, width).
        intrinsics: (images, 3, 3) pixels of the depthmaps.
        cam2world: (images, 4, 4).
        truncation: how far around a depth to look, and how far behind a surface it still counts, in the
            scene's unit; 0 returns the depths as they are.
        pairs: images that overlap, in any order; None takes all pairs.
        samples: depths tried per pixel, evenly over [-truncation, truncation]; at least 2.
        max_confidence: confidences weigh no more than this.
        max_queries: samples looked up at once; bounds memory.

    Returns:
        New depths. A pixel whose ray has no zero crossing keeps its depth.

    Raises:
        InputError: a negative truncation, fewer than two samples, lists of different lengths.
    """
    if truncation < 0 or samples < 2:
        raise InputError(f"truncation {truncation} and samples {samples}: expected at least 0 and 2")
    count = len(depths)
    if not len(confidences) == len(intrinsics) == len(cam2world) == count:
        raise InputError(
            f"{count} depths, {len(confidences)} confidences, {len(intrinsics)} intrinsics, "
            f"{len(cam2world)} poses"
        )
    if truncation == 0:
        return tuple(depths)
    if pairs is None:
        pairs = [(i, j) for i in range(count) for j in range(i)]
    partners: list[set[int]] = [set() for _ in range(count)]
    for i, j in pairs:
        if i != j:
            partners[i].add(j)
            partners[j].add(i)
    grid = torch.linspace(-truncation, truncation, samples, dtype=torch.float64).to(depths[0])
    weights = [
        torch.where(depth.isfinite() & (depth > 0), conf.clamp(0, max_confidence), 0).to(depth)
        for depth, conf in zip(depths, confidences, strict=True)
    ]
    pixels_at_once = max(1, max_queries // samples)
    return tuple(
        _fuse_image(i, sorted(partners[i]), depths, weights, intrinsics, cam2world, grid, pixels_at_once)
        for i in range(count)
    )


def _fuse_image(
    image: int,
    partners: list[int],
    depths: Sequence[Float[Tensor, "h w"]],
    weights: Sequence[Float[Tensor, "h w"]],
    intrinsics: Float[Tensor, "images 3 3"],
    cam2world: Float[Tensor, "images 4 4"],
    grid: Float[Tensor, " samples"],
    pixels_at_once: int,
) -> Float[Tensor, "h w"]:
    height, width = depths[image].shape
    depth, own_weight = depths[image].flatten(), weights[image].flatten()
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(-1, 3).to(depth)
    rays = pixels @ torch.linalg.inv(intrinsics[image]).T.to(depth)
    fused = depth.clone()
    # Pixels that no other view can see, or that have no depth, stay.
    usable = (own_weight > 0).nonzero()[:, 0]
    for block in torch.split(usable, pixels_at_once) if partners else ():
        # The own view's distance is minus the step along the ray.
        total = own_weight[block, None].expand(-1, len(grid)).clone()
        mean = -grid * total
        for other in partners:
            relative = torch.linalg.solve(cam2world[other], cam2world[image]).to(depth)
            distance, weight = _signed_distances(
                rays[block], depth[block], grid, relative, depths[other], weights[other], intrinsics[other]
            )
            mean += weight * distance
            total += weight
        fused[block] += _zero_crossing(mean / total, grid)
    return fused.reshape(height, width)


def _signed_distances(
    rays: Float[Tensor, "n 3"],
    depth: Float[Tensor, " n"],
    grid: Float[Tensor, " samples"],
    relative: Float[Tensor, "4 4"],
    other_depth: Float[Tensor, "h w"],
    other_weight: Float[Tensor, "h w"],
    other_intrinsics: Float[Tensor, "3 3"],
) -> tuple[Float[Tensor, "n samples"], Float[Tensor, "n samples"]]:
    """Truncated distances of the samples before another view's surface; their weights (0: unseen)."""
    height, width = other_depth.shape
    direction = rays @ (other_intrinsics.to(rays) @ relative[:3, :3]).T
    start = direction * depth[:, None] + other_intrinsics.to(rays) @ relative[:3, 3]
    u, v, z = (start[:, axis, None] + direction[:, axis, None] * grid for axis in range(3))
    front = z > 0
    safe = torch.where(front, z, 1)
    u, v = (u / safe).round(), (v / safe).round()
    inside = front & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    index = torch.where(inside, v * width + u, 0).long()
    distance = other_depth.flatten()[index] - z
    truncation = grid[-1]
    seen = inside & (distance >= -truncation)
    weight = torch.where(seen, other_weight.flatten()[index], 0)
    return torch.where(weight > 0, distance.clamp(max=truncation), 0), weight


def _zero_crossing(field: Float[Tensor, "n samples"], grid: Float[Tensor, " samples"]) -> Float[Tensor, " n"]:
    """Of every row, where it falls through zero nearest to the grid's middle; 0 where it never does."""
    before, after = field[:, :-1], field[:, 1:]
    crosses = (before >= 0) & (after <= 0) & (before > after)
    part = torch.where(crosses, before / torch.where(crosses, before - after, 1), 0)
    at = grid[:-1] + part * (grid[1:] - grid[:-1])
    nearest = torch.where(crosses, at.abs(), torch.inf).argmin(dim=1, keepdim=True)
    return torch.where(crosses.any(dim=1), at.gather(1, nearest)[:, 0], 0)
