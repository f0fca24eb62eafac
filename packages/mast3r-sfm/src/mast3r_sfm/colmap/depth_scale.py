"""The scale of a COLMAP model, from the depth that the network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mast3r_model import ImageTransform, NothingFoundError

from .network_mapping import ColmapGroup


@dataclass(frozen=True, eq=False)
class DepthScale:
    """How a COLMAP model and the network's depth fit together.

    Attributes:
        world: metres of the network in one unit of the model: poses and points times this are metric.
        images: (n,) by how much to multiply each image's network depth (metres) so that it meets the
            tracks of the metric model.
    """

    world: float
    images: Float[np.ndarray, " n"]


def depth_scale(
    group: ColmapGroup,
    depths: Sequence[Float[np.ndarray, "h w"]],
    transforms: Sequence[ImageTransform],
    *,
    min_observations: int = 5,
) -> DepthScale:
    """Find the scale of a model by the network's depth: medians over the observations of its tracks.

    Args:
        group: of images.
        depths: of the same images, camera z in metres; not above 0 where unknown.
        transforms: between their original and network pixels.
        min_observations: images with fewer usable ones count as exactly metric.

    Raises:
        NothingFoundError: no track is seen where there is depth.
    """
    tracks = group.tracks
    world2cam = np.linalg.inv(group.cam2world)[tracks.image]
    z = np.einsum("mj,mj->m", world2cam[:, 2, :3], tracks.positions[tracks.track]) + world2cam[:, 2, 3]
    metres = np.zeros(len(z))
    for index, (depth, transform) in enumerate(zip(depths, transforms, strict=True)):
        own = np.flatnonzero(tracks.image == index)
        x, y = np.round(transform.points_to_network(tracks.xy[own])).astype(np.int64).T
        height, width = depth.shape
        metres[own] = depth[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    usable = (z > 0) & (metres > 0) & np.isfinite(metres)
    if not usable.any():
        raise NothingFoundError("no point of COLMAP's model is seen where the network has depth")
    ratio = np.where(usable, metres / np.where(usable, z, 1), np.nan)
    world = float(np.nanmedian(ratio))
    factors = np.ones(len(group.numbers))
    for index in range(len(factors)):
        own_ratios = ratio[usable & (tracks.image == index)]
        if len(own_ratios) >= min_observations:
            factors[index] = world / np.median(own_ratios)
    return DepthScale(world, factors)
