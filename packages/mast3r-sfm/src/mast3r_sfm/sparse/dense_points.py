"""A point for every pixel of aligned images (spec 30 section 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mast3r_model import InputError
from mast3r_sfm.canonical import CanonicalView, anchors_of_pixels, pixel_grid
from mast3r_sfm.progress import Advance, silent

from .alignment import Alignment
from .cameras import pixel_depth, to_camera, to_world
from .cleaning import clean_pointcloud


@dataclass(frozen=True)
class DensePoints:
    """One image's points; float32.

    Attributes:
        pts3d: (h, w, 3) in the world.
        depth: (h, w) camera z.
        conf: (h, w) canonical confidence (about 1 less than the network's); 0 where cleaning found a point in
            front of a surface that another image sees more surely.
    """

    pts3d: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    conf: Float[Tensor, "h w"]


def dense_points(
    views: Sequence[CanonicalView],
    alignment: Alignment,
    *,
    clean: bool = True,
    pairs: Int[Tensor, "P 2"] | Sequence[tuple[int, int]] | None = None,
    tolerance: float = 1e-3,
    advance: Advance = silent,
) -> list[DensePoints]:
    """Lift every pixel by its anchor's depth.

    Args:
        views: canonical views of the images, in the order of the problem that was aligned.
        alignment: cameras and anchor depths.
        clean: lower the confidence of points that contradict other images, see :func:`clean_pointcloud`.
        pairs: images that overlap; only these are compared when cleaning. None compares all.
        tolerance: of cleaning, relative to depth.
        advance: called after every image.

    Raises:
        InputError: the views do not have as many anchors as were aligned.
    """
    anchors = sum(view.core_depth.numel() for view in views)
    if len(views) != len(alignment.base_focal) or anchors != len(alignment.anchor_depth):
        raise InputError(
            f"{len(views)} views with {anchors} anchors were given for an alignment of "
            f"{len(alignment.base_focal)} images with {len(alignment.anchor_depth)} anchors"
        )
    results, start = [], 0
    for image, view in enumerate(views):
        end = start + view.core_depth.numel()
        results.append(_lifted(view, alignment, image, alignment.anchor_depth[start:end]))
        start = end
        advance(0 if clean else 1)
    if not clean:
        return results
    confs = clean_pointcloud(
        [result.conf for result in results],
        alignment.intrinsics,
        alignment.cam2world,
        [result.depth for result in results],
        [result.pts3d for result in results],
        tolerance=tolerance,
        pairs=pairs,
        advance=advance,
    )
    return [replace(result, conf=conf) for result, conf in zip(results, confs, strict=True)]


def _lifted(
    view: CanonicalView, alignment: Alignment, image: int, anchor_depth: Float[Tensor, " a"]
) -> DensePoints:
    height, width = view.shape
    xy = pixel_grid(view.shape, anchor_depth.device)
    anchor, offset = anchors_of_pixels(view.relative_depth.to(anchor_depth.device), xy, view.subsample)
    images = torch.full_like(anchor, image)
    cameras = alignment.cameras
    depth = pixel_depth(cameras, anchor_depth, images, anchor, offset.double())
    points = to_world(cameras, images, to_camera(cameras, images, xy.double(), depth))
    return DensePoints(
        pts3d=points.reshape(height, width, 3).float(),
        depth=depth.reshape(height, width).float(),
        conf=view.conf.to(depth.device),
    )
