"""What can be shown of a group of photos before its alignment is done."""

from __future__ import annotations

import numpy as np

from mast3r_sfm.photos import ImageSet
from mast3r_sfm.scene import PointCloud, Scene, Tracks
from mast3r_sfm.sparse import Alignment, SparseProblem

from .task import placed_image

PARTIAL_POINTS = 100_000
"""Points of a partial scene, at most: it is looked at for some seconds."""


def partial_scene(images: ImageSet, alignment: Alignment, problem: SparseProblem, component: int) -> Scene:
    """Cameras, and a point for each match, of an alignment whose coarse stage is done.

    Its images have no depth yet: all is in ``points``.

    Args:
        images: of the group.
        alignment: as far as it is.
        problem: that is being aligned.
        component: number of the group.
    """
    placed = tuple(
        placed_image(
            image,
            intrinsics=alignment.intrinsics[k].cpu().numpy(),
            cam2world=alignment.cam2world[k].cpu().numpy(),
            depth=np.zeros(image.shape, np.float32),
            confidence=np.zeros(image.shape, np.float32),
            component=component,
        )
        for k, image in enumerate(images)
    )
    points = _matched_points(images, alignment, problem, component)
    return Scene(placed, points, Tracks.empty(), report={"partial": "coarse alignment"})


def _matched_points(
    images: ImageSet, alignment: Alignment, problem: SparseProblem, component: int
) -> PointCloud:
    """The middle between both ends of each match, in the colour of the first."""
    middle = alignment.match_points(problem).mean(0).cpu().numpy()
    step = max(1, -(-len(middle) // PARTIAL_POINTS))
    owner = problem.image[0].cpu().numpy()[::step]
    xy = problem.xy[0].cpu().numpy()[::step].round().astype(np.int64)
    colors = np.zeros((len(xy), 3), np.uint8)
    for k, image in enumerate(images):
        x, y = xy[owner == k].T
        colors[owner == k] = image.pixels[y, x]
    confidence = problem.conf.cpu().numpy()[::step]
    return PointCloud(middle[::step], colors, confidence, np.full(len(xy), component))
