"""Matches, cameras and depth against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mast3r_match import Matches
from mast3r_model import NothingFoundError
from mast3r_sfm import CameraEvaluation, Scene, SceneImage, compare_cameras

from .example import Example

RIGHT_PIXELS = 3.0
"""A match this near to its true place is called right."""
RIGHT_DEPTH = 0.1
"""So is a depth that is off by less than this part."""


@dataclass(frozen=True)
class MatchMeasures:
    """Matches of two photos against the truth.

    Attributes:
        matches: their number.
        checked: those at places of photo 0 whose true depth is known.
        median_error: of checked ones, distance in photo 1 from where the place truly is, in pixels.
        right: share of checked ones with less than `RIGHT_PIXELS`.
    """

    matches: int
    checked: int
    median_error: float
    right: float


@dataclass(frozen=True)
class DepthMeasures:
    """Depth maps of a scene against the truth, after the scale of the cameras' similarity.

    Attributes:
        covered: share of the photos' pixels for which the scene has a depth.
        median_error: of these, relative.
        right: share of these with a relative error below `RIGHT_DEPTH`.
    """

    covered: float
    median_error: float
    right: float


@dataclass(frozen=True)
class Comparison:
    """What a run of the quickstart is worth."""

    matches: MatchMeasures
    cameras: CameraEvaluation
    depth: DepthMeasures


def compare(example: Example, matches: Matches, scene: Scene) -> Comparison:
    """Compare all results with the truth.

    Args:
        example: the truth.
        matches: of its first two photos.
        scene: of all its photos; its largest group of connected photos counts.

    Raises:
        NothingFoundError: no photo was placed, or no match can be checked.
    """
    largest = scene.components()[0]
    cameras = compare_cameras(largest.cameras(), example.cameras)
    return Comparison(
        compare_matches(example, matches), cameras, compare_depth(example, largest, cameras.scale)
    )


def compare_matches(example: Example, matches: Matches, pair: tuple[int, int] = (0, 1)) -> MatchMeasures:
    """Where the matches of two photos should be, and where they are.

    Raises:
        NothingFoundError: no match lies where the truth is known.
    """
    depth, known = example.depth_at(pair[0], matches.keypoints0)
    if not known.any():
        raise NothingFoundError(
            f"none of the {len(matches)} matches of the example can be checked", "try another --model"
        )
    true = _seen_in(example, pair, matches.keypoints0[known], depth[known])
    errors = np.linalg.norm(matches.keypoints1[known] - true, axis=1)
    return MatchMeasures(
        len(matches), int(known.sum()), float(np.median(errors)), float((errors < RIGHT_PIXELS).mean())
    )


def _seen_in(
    example: Example,
    pair: tuple[int, int],
    pixels: Float[np.ndarray, "m 2"],
    depth: Float[np.ndarray, " m"],
) -> Float[np.ndarray, "m 2"]:
    """Pixels of the second photo that see what pixels of the first one see."""
    (K0, K1), (pose0, pose1) = (
        (array[pair[0]], array[pair[1]]) for array in (example.cameras.intrinsics, example.cameras.cam2world)
    )
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(K0).T
    world = (depth[:, None] * rays) @ pose0[:3, :3].T + pose0[:3, 3]
    seen = (world - pose1[:3, 3]) @ pose1[:3, :3] @ K1.T
    return seen[:, :2] / np.where(np.abs(seen[:, 2:]) > 1e-9, seen[:, 2:], 1e-9)


def compare_depth(example: Example, scene: Scene, scale: float) -> DepthMeasures:
    """Depth of all placed photos.

    Args:
        example: the truth.
        scene: its photos are found by name.
        scale: from the scene's unit to metres.

    Raises:
        NothingFoundError: the scene has depth nowhere.
    """
    places = scene.cameras().find(example.cameras.names)
    ratios = [
        scale * _sampled_depth(scene.images[place], example) / example.depth[number]
        for number, place in enumerate(places)
        if place is not None
    ]
    all_ratios = np.concatenate([ratio[np.isfinite(ratio)] for ratio in ratios])
    if not len(all_ratios):
        raise NothingFoundError("the scene has no depth at all", "try another --model")
    errors = np.abs(all_ratios - 1)
    return DepthMeasures(
        covered=len(errors) / example.depth.size,
        median_error=float(np.median(errors)),
        right=float((errors < RIGHT_DEPTH).mean()),
    )


def _sampled_depth(image: SceneImage, example: Example) -> Float[np.ndarray, "rows columns"]:
    """The scene's depth of the network pixels nearest to those of known depth; NaN where it has none."""
    height, width = image.depth.shape
    x, y = np.moveaxis(image.transform.points_to_network(example.sampled_pixels()), -1, 0).round().astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    usable = inside & (image.depth[y, x] > 0) & (image.confidence[y, x] > 0)
    return np.where(usable, image.depth[y, x], np.nan)
