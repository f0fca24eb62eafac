"""The pose by the network's own geometry, where matches lead to none (spec 50 D5, ``--align``).

The network predicts where the points of a map image lie as the query's camera sees them. Laid onto the
map's points, or onto the map's cameras, that frame is the query's pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from mast3r_model import EncodedImage
from mast3r_visloc.cameras import Camera, QueryCamera, project
from mast3r_visloc.pnp import PnPResult
from mast3r_visloc.poses import Correspondences

from .known_cameras import agreeing_rays, align_cameras, relative_camera
from .options import LocalizationOptions
from .photos import FileTransform
from .pointmaps import (
    POINTS_PER_IMAGE,
    PlacedImage,
    PredictedPoints,
    QueryGeometry,
    file_focal,
    predict_geometry,
)
from .search import Solution
from .similarity import Similarity, agreeing, find_similarity

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo


@dataclass(frozen=True, eq=False)
class _Alignment:
    """From the upright query's frame to the world, and what speaks for it."""

    similarity: Similarity
    images: Sequence[PredictedPoints]
    world: Sequence[Float[np.ndarray, "n 3"]]
    agreeing: Sequence[Bool[np.ndarray, " n"]]


def align(
    model: AsymmetricCroCo3DStereo,
    query: EncodedImage,
    transform: FileTransform,
    camera: QueryCamera,
    images: Sequence[PlacedImage],
    options: LocalizationOptions,
) -> Solution | None:
    """Find a query's pose from predicted points: by map images with 3D points, else by posed ones.

    Args:
        model: the network.
        query: its features.
        transform: between its file's pixels and the network's.
        camera: of the query. It only says which points the query shows; an unknown focal length is taken from
            the network's points.
        images: map images.
        options: `min_inliers` and the seed.

    Returns:
        The pose; its correspondences are points in the query's view. None if nothing convinces, or the
        query's file is mirrored.

    Raises:
        InputError: a map's camera that does not fit its photo.
    """
    if not images or transform.quarter_turns is None:
        return None
    geometry = predict_geometry(model, query, images, options)
    seen_by = _camera(camera, transform, geometry)
    for attempt in (_on_points, _on_cameras):
        found = attempt(geometry.images, options)
        solution = None if found is None else _solution(found, transform, seen_by)
        if solution is not None and solution.result.num_inliers >= options.min_inliers:
            return solution
    return None


def _on_points(images: Sequence[PredictedPoints], options: LocalizationOptions) -> _Alignment | None:
    """Predicted points onto the map's."""
    with_points = [image for image in images if image.xyz is not None and len(image)]
    known = [image.thinned(POINTS_PER_IMAGE, options.seed) for image in with_points]
    world = [image.xyz for image in known if image.xyz is not None]
    if not known:
        return None
    similarity = find_similarity(
        np.concatenate([image.own for image in known]),
        np.concatenate(world),
        np.concatenate([image.confidence for image in known]),
        np.repeat(np.arange(len(known)), [len(image) for image in known]),
        seed=options.seed,
    )
    if similarity is None:
        return None
    near = [agreeing(similarity, image.own, xyz) for image, xyz in zip(known, world, strict=True)]
    return _Alignment(similarity, known, world, near)


def _on_cameras(images: Sequence[PredictedPoints], options: LocalizationOptions) -> _Alignment | None:
    """Predicted cameras onto the map's."""
    thinned = [image.thinned(POINTS_PER_IMAGE, options.seed) for image in images if len(image)]
    cameras = [found for image in thinned if (found := relative_camera(image, options)) is not None]
    similarity = align_cameras(cameras)
    if similarity is None:
        return None
    return _Alignment(
        similarity,
        [camera.predicted for camera in cameras],
        [similarity.apply(camera.predicted.own) for camera in cameras],
        [agreeing_rays(similarity, camera) for camera in cameras],
    )


def _camera(camera: QueryCamera, transform: FileTransform, geometry: QueryGeometry) -> Camera:
    """The query's camera; where its focal length is not known, with that of the network."""
    if camera.focal_known:
        return camera.camera
    focal = file_focal(geometry, transform)
    if not np.isfinite(focal) or focal <= 0:
        return camera.camera
    height, width = transform.original_shape
    return Camera("SIMPLE_PINHOLE", width, height, (focal, width / 2, height / 2))


def _solution(found: _Alignment, transform: FileTransform, camera: Camera) -> Solution:
    """The pose of the file's camera, and the points that it sees."""
    upright_from_file = np.eye(3)
    upright_from_file[:2, :2] = transform.upright_from_file[:2, :2]
    similarity = found.similarity
    query_xy, map_xy, xyz, confidence, inlier, rows = [], [], [], [], [], []
    for number, (image, world, near) in enumerate(
        zip(found.images, found.world, found.agreeing, strict=True)
    ):
        pixels = project(camera, image.own @ upright_from_file)
        shown = ((pixels > -0.5) & (pixels < np.array([camera.width, camera.height]) - 0.5)).all(axis=1)
        query_xy.append(pixels[shown])
        map_xy.append(image.map_xy[shown])
        xyz.append(world[shown])
        confidence.append(image.confidence[shown])
        inlier.append(near[shown])
        rows.append(np.full(int(shown.sum()), number))
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = (similarity.rotation @ upright_from_file).T
    cam_from_world[:3, 3] = -cam_from_world[:3, :3] @ similarity.translation
    inliers = np.concatenate(inlier)
    return Solution(
        names=tuple(image.placed.image.name for image in found.images),
        correspondences=Correspondences(
            np.concatenate(query_xy),
            np.concatenate(rows),
            np.concatenate(map_xy),
            np.concatenate(xyz),
            np.concatenate(confidence),
            inliers,
        ),
        result=PnPResult(True, cam_from_world, inliers, int(inliers.sum()), camera),
        method="pointmap",
    )
