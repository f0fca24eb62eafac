"""Aligning a query with map images of known pose but without 3D points (spec 50 D5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from mast3r_visloc.cameras import Camera, query_camera, unproject
from mast3r_visloc.pnp import estimate_pose

from .options import LocalizationOptions
from .pointmaps import PredictedPoints
from .similarity import LEAST_SHARE, TOLERANCE, Similarity

PNP_THRESHOLD = "2%"
"""Of the map image's diagonal: between its pixels and its points as the network places them."""

LARGEST_TURN = 10.0
"""Degrees between the query's rotations by two map images that agree."""

SHORTEST_BASELINE = 0.02
"""Between two map cameras, relative to how far away the points are: a shorter one tells no scale."""


@dataclass(frozen=True, eq=False)
class RelativeCamera:
    """A map image's camera in the query's frame.

    Attributes:
        predicted: its points.
        camera: in the pixels of its file.
        world_from_query: 3x3, the query's rotation by this image.
        own_centre: (3,) in the frame of the upright query's camera, in the network's unit.
        centre: (3,) in the map's world frame.
    """

    predicted: PredictedPoints
    camera: Camera
    world_from_query: Float[np.ndarray, "3 3"]
    own_centre: Float[np.ndarray, " 3"]
    centre: Float[np.ndarray, " 3"]


def relative_camera(predicted: PredictedPoints, options: LocalizationOptions) -> RelativeCamera | None:
    """Where the network puts a map image's camera: PnP of the points of its pixels.

    Args:
        predicted: of the map image.
        options: of PnP.

    Returns:
        None if the image's pose is not known, it is mirrored, or its points fit no camera.

    Raises:
        InputError: the map's camera does not fit the photo.
    """
    image, transform = predicted.placed.image, predicted.placed.transform
    if image.cam2world is None or transform.quarter_turns is None:
        return None
    known = query_camera(image.path, transform.original_shape, listed=image.camera)
    found = estimate_pose(
        predicted.map_xy,
        predicted.own,
        known.camera,
        solver=options.solver,
        threshold=PNP_THRESHOLD,
        min_inliers=options.min_inliers,
        max_points=options.max_points,
        weights=predicted.confidence,
        seed=options.seed,
        focal=known.focal,
    )
    if found.cam_from_world is None or found.cam2world is None:
        return None
    return RelativeCamera(
        predicted,
        found.camera,
        image.cam2world[:3, :3] @ found.cam_from_world[:3, :3],
        found.cam2world[:3, 3],
        image.cam2world[:3, 3],
    )


def align_cameras(cameras: Sequence[RelativeCamera]) -> Similarity | None:
    """From the query's frame to the world, as most map cameras say.

    Of every two the rotation is averaged, and scale and place follow from the baseline between them; the two
    that most others agree with are joined by those, and averaged again.

    Args:
        cameras: in the query's frame.

    Returns:
        None if no two of them agree, or they lie too close together.
    """
    best, most = None, 1
    for pair in combinations(cameras, 2):
        tried = _joined(pair)
        if tried is None:
            continue
        together = [camera for camera in cameras if _agrees(tried, camera)]
        if len(together) > most:
            best, most = together, len(together)
    return None if best is None else _joined(best)


def _joined(cameras: Sequence[RelativeCamera]) -> Similarity | None:
    """The similarity that places some cameras, which must be at least two."""
    own = np.array([camera.own_centre for camera in cameras])
    world = np.array([camera.centre for camera in cameras])
    mean = Rotation.from_matrix([camera.world_from_query for camera in cameras]).mean()
    turned, spread = mean.apply(own - own.mean(axis=0)), world - world.mean(axis=0)
    far = float(np.median([np.median(np.linalg.norm(c.predicted.own, axis=1)) for c in cameras]))
    extent = (turned**2).sum()
    if extent <= (SHORTEST_BASELINE * far) ** 2 / 2:
        return None
    scale = float((turned * spread).sum() / extent)
    if scale <= 0:
        return None
    rotation = mean.as_matrix()
    return Similarity(scale, rotation, world.mean(axis=0) - scale * rotation @ own.mean(axis=0))


def _agrees(similarity: Similarity, camera: RelativeCamera) -> bool:
    between = Rotation.from_matrix(similarity.rotation.T @ camera.world_from_query).magnitude()
    return bool(
        np.degrees(between) <= LARGEST_TURN and agreeing_rays(similarity, camera).mean() >= LEAST_SHARE
    )


def agreeing_rays(similarity: Similarity, camera: RelativeCamera) -> Bool[np.ndarray, " n"]:
    """Which points of a map image lie, placed in the world, on the rays of their pixels.

    They do if they are closer to them than `TOLERANCE` times their distance from the map camera.

    Args:
        similarity: from the query's frame to the world.
        camera: the map image.
    """
    pose = camera.predicted.placed.image.cam2world
    assert pose is not None
    seen = (similarity.apply(camera.predicted.own) - pose[:3, 3]) @ pose[:3, :3]
    rays = unproject(camera.camera, camera.predicted.map_xy)
    along = (seen * rays).sum(axis=1)
    beside = np.linalg.norm(seen - along[:, None] * rays, axis=1)
    near: Bool[np.ndarray, " n"] = (along > 0) & (beside < TOLERANCE * np.linalg.norm(seen, axis=1))
    return near
