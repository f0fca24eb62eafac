"""Everything that hangs on the cameras, after they moved: depth, tracks, points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from mast3r_sfm.colmap.adjustment import BundleCameras
from mast3r_sfm.points import confident_points
from mast3r_sfm.rays import parallax_angles, refined_points, reprojection_errors
from mast3r_sfm.scene import PointCloud, SceneImage, Tracks

from .adjusted import FixedCameras
from .bundle import TRIANGULATION_STEPS, Bundle, seen_twice
from .results import RefinementOptions

_RATIO_OBSERVATIONS = 5
"""Images with fewer observations take the scale of their group."""


def move_bundle(
    bundle: Bundle, cameras: BundleCameras, fixed: FixedCameras, options: RefinementOptions
) -> tuple[list[SceneImage], Tracks]:
    """Images and tracks with new cameras."""
    tracks, views = bundle.tracks, bundle.views(cameras)
    every, _ = bundle.observations(np.ones(len(tracks.track), bool))
    points = refined_points(tracks.positions, every, views, options.max_error, TRIANGULATION_STEPS)
    error = reprojection_errors(points, every, views)
    wide = parallax_angles(points, every, views) >= options.min_angle
    kept = seen_twice(tracks, (error <= options.max_error) & wide[tracks.track])
    ratio = _depth_ratios(bundle, cameras, points, kept)
    cam2world = np.linalg.inv(cameras.world2cam)
    moved = (cameras.world2cam != bundle.cameras.world2cam).any((1, 2))
    images = []
    for index, image in enumerate(bundle.images):
        grown = cameras.focal[index] / bundle.cameras.focal[index]
        K = image.intrinsics.copy()
        K[:2, :2] *= grown
        images.append(
            replace(
                image,
                intrinsics=image.intrinsics if fixed.focals[index] else K,
                cam2world=cam2world[index] if moved[index] else image.cam2world,
                depth=image.depth * ratio[index],
            )
        )
    return images, _kept_tracks(images, tracks, points, kept)


def _depth_ratios(
    bundle: Bundle, cameras: BundleCameras, points: Float[np.ndarray, "t 3"], kept: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, " n"]:
    """Median of new to old track depth in every image; the group's in images that see too little."""
    tracks = bundle.tracks
    old, new = (
        np.einsum("mj,mj->m", pose[tracks.image, 2, :3], where[tracks.track]) + pose[tracks.image, 2, 3]
        for pose, where in ((bundle.cameras.world2cam, tracks.positions), (cameras.world2cam, points))
    )
    usable = kept & (old > 0) & (new > 0)
    quotient = np.where(usable, new / np.where(usable, old, 1), np.nan)
    usual = float(np.nanmedian(quotient)) if usable.any() else 1.0
    ratios = np.full(len(bundle.images), usual)
    for index in range(len(ratios)):
        own = quotient[usable & (tracks.image == index)]
        if len(own) >= _RATIO_OBSERVATIONS:
            ratios[index] = np.median(own)
    return ratios


def _kept_tracks(
    images: Sequence[SceneImage],
    tracks: Tracks,
    points: Float[np.ndarray, "t 3"],
    kept: Bool[np.ndarray, " m"],
) -> Tracks:
    """Some observations, with errors in original pixels; tracks without any go."""
    numbers, track = np.unique(tracks.track[kept], return_inverse=True)
    image, xy = tracks.image[kept], tracks.xy[kept]
    P = np.array([shown.intrinsics @ shown.world2cam[:3] for shown in images]).reshape(-1, 3, 4)
    positions = points[numbers]
    projected = np.einsum("mij,mj->mi", P[image], np.c_[positions, np.ones(len(positions))][track])
    error = np.linalg.norm(projected[:, :2] / projected[:, 2:] - xy, axis=1)
    return Tracks(positions, tracks.colors[numbers], track, image, xy, error)


def points_again(points: PointCloud, images: Sequence[SceneImage]) -> PointCloud:
    """The cloud of the images' confident pixels, where they are now."""
    if not len(points):
        return points
    least = points.confidence.min()
    return confident_points(images, float(np.nextafter(least, np.float32(-np.inf))))
