"""How large what the network predicts is in the map, for an image whose pose is known (spec 50 D1, D5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .known_cameras import SHORTEST_BASELINE, agreeing_rays, relative_camera
from .options import LocalizationOptions
from .pointmaps import POINTS_PER_IMAGE, PredictedPoints
from .similarity import LEAST_SHARE, Similarity, agreeing

LEAST_POINTS = 12
"""Of a neighbour, that must agree."""

LARGEST_TURN = 4.0
"""Degrees between a neighbour's rotation by the network and by the map."""

LARGEST_ASIDE = 0.25
"""Between a neighbour's place by the network and by the map, relative to its distance from the image."""


def unit_of_points(
    images: Sequence[PredictedPoints], cam2world: Float[np.ndarray, "4 4"], options: LocalizationOptions
) -> float | None:
    """By what predicted points must be multiplied to be in the map's unit.

    By the map's 3D points where they agree with the network's, else by the cameras of the neighbours.

    Args:
        images: neighbours' points as they were predicted in the image's frame.
        cam2world: of the image's upright camera.
        options: of PnP for the neighbours' cameras, and the seed.

    Returns:
        None if nothing convinces: the network's points have another shape than the map's.

    Raises:
        InputError: a map's camera that does not fit its photo.
    """
    thinned = [image.thinned(POINTS_PER_IMAGE, options.seed) for image in images if len(image)]
    by_points = _median_that_convinces(
        [(_units(image, cam2world), image) for image in thinned if image.xyz is not None], cam2world
    )
    return by_points if by_points is not None else _by_cameras(thinned, cam2world, options)


def _units(image: PredictedPoints, cam2world: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, " n"]:
    """The unit that each point tells."""
    assert image.xyz is not None
    own = np.linalg.norm(image.own, axis=1)
    return np.linalg.norm(image.xyz - cam2world[:3, 3], axis=1) / np.maximum(own, np.finfo(np.float64).tiny)


def _median_that_convinces(
    told: Sequence[tuple[Float[np.ndarray, " n"], PredictedPoints]], cam2world: Float[np.ndarray, "4 4"]
) -> float | None:
    """Of the neighbours with which most of the points agree, those points' median."""
    agreed = []
    for units, image in told:
        placed = Similarity(float(np.median(units)), cam2world[:3, :3], cam2world[:3, 3])
        assert image.xyz is not None
        near = agreeing(placed, image.own, image.xyz)
        if near.sum() >= LEAST_POINTS and near.mean() >= LEAST_SHARE:
            agreed.append(units[near])
    return float(np.median(np.concatenate(agreed))) if agreed else None


def _by_cameras(
    images: Sequence[PredictedPoints], cam2world: Float[np.ndarray, "4 4"], options: LocalizationOptions
) -> float | None:
    """The median of what the distances to the neighbours' cameras tell, of those that the network puts where
    they are: turned as they are, on their side, and with points that lie on their rays."""
    told = []
    for image in images:
        camera = relative_camera(image, options)
        if camera is None:
            continue
        far = float(np.median(np.linalg.norm(image.own, axis=1)))
        baseline = float(np.linalg.norm(camera.own_centre))
        if baseline <= SHORTEST_BASELINE * far:
            continue
        unit = float(np.linalg.norm(camera.centre - cam2world[:3, 3])) / baseline
        placed = Similarity(unit, cam2world[:3, :3], cam2world[:3, 3])
        turn = Rotation.from_matrix(cam2world[:3, :3].T @ camera.world_from_query).magnitude()
        aside = np.linalg.norm(placed.apply(camera.own_centre[None])[0] - camera.centre)
        if (
            np.degrees(turn) <= LARGEST_TURN
            and aside <= LARGEST_ASIDE * unit * baseline
            and agreeing_rays(placed, camera).mean() >= LEAST_SHARE
        ):
            told.append(unit)
    return float(np.median(told)) if told else None
