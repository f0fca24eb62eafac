"""Which points contradict what other images see (spec 30 section 7.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mast3r_sfm.progress import Advance, silent


def clean_pointcloud(
    confs: Sequence[Float[Tensor, "h w"]],
    intrinsics: Float[Tensor, "N 3 3"],
    cam2world: Float[Tensor, "N 4 4"],
    depths: Sequence[Float[Tensor, "h w"]],
    pts3d: Sequence[Float[Tensor, "h w 3"]],
    *,
    tolerance: float = 1e-3,
    bad_conf: float = 0.0,
    pairs: Int[Tensor, "P 2"] | Sequence[tuple[int, int]] | None = None,
    batch: int = 16,
    advance: Advance = silent,
) -> list[Float[Tensor, "h w"]]:
    """Lower the confidence of contradicted points.

    A point of image i is bad if some image j sees through it: it projects into j in front of j's depth by
    more than the tolerance, and j's pixel is more confident. Images are processed in order and lowered
    confidences count at once, so the result depends on the order of images, as upstream's does.

    Args:
        confs: confidences; they are not changed.
        intrinsics: pixels.
        cam2world: poses.
        depths: camera z of every pixel.
        pts3d: world points of every pixel.
        tolerance: relative depth by which a point must be in front.
        bad_conf: the confidence of bad points becomes at most this.
        pairs: images that overlap; others are not compared. None compares all.
        batch: images that one image is compared with at a time.
        advance: called after every image.

    Returns:
        New confidences.
    """
    count = len(confs)
    if not count:
        return []
    neighbors = _neighbors(count, pairs)
    device, dtype = confs[0].device, pts3d[0].dtype
    sizes = torch.tensor([conf.shape for conf in confs], device=device)
    start = torch.cat((sizes.new_zeros(1), sizes.prod(-1).cumsum(0)))
    depth = torch.cat([values.reshape(-1) for values in depths])
    result = torch.cat([values.reshape(-1) for values in confs])
    K, world2cam = intrinsics.to(device, dtype), torch.linalg.inv(cam2world.to(device, dtype))
    for i in range(count):
        own = result[start[i] : start[i + 1]]
        points = pts3d[i].reshape(-1, 3)
        bad = torch.zeros_like(own, dtype=torch.bool)
        # Only image i changes here, so its neighbours may be asked in any grouping.
        for others in torch.split(torch.tensor(neighbors[i], device=device).long(), batch):
            seen = points @ world2cam[others, :3, :3].transpose(1, 2) + world2cam[others, None, :3, 3]
            z = seen[..., 2]
            pixel = (seen @ K[others].transpose(1, 2))[..., :2] / z[..., None]
            u, v = pixel.round().unbind(-1)
            height, width = sizes[others].T[..., None]
            inside = (z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
            flat = torch.where(inside, v * width + u, torch.zeros_like(u)).long() + start[others, None]
            in_front = z < (1 - tolerance) * depth[flat]
            bad |= (inside & in_front & (own < result[flat])).any(0)
        result[start[i] : start[i + 1]] = torch.where(bad, own.clamp_max(bad_conf), own)
        advance(1)
    parts = torch.split(result, sizes.prod(-1).tolist())
    return [part.reshape(conf.shape) for part, conf in zip(parts, confs, strict=True)]


def _neighbors(count: int, pairs: Int[Tensor, "P 2"] | Sequence[tuple[int, int]] | None) -> list[list[int]]:
    if pairs is None:
        return [[j for j in range(count) if j != i] for i in range(count)]
    neighbors: list[set[int]] = [set() for _ in range(count)]
    for first, second in torch.as_tensor(pairs).tolist():
        if first != second:
            neighbors[first].add(second)
            neighbors[second].add(first)
    return [sorted(group) for group in neighbors]
