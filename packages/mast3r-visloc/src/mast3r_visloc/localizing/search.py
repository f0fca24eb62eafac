"""From a query's candidates to its pose: a few at a time, until more would not help (spec 50 D2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mast3r_visloc.cameras import QueryCamera
from mast3r_visloc.pnp import PnPResult, estimate_pose
from mast3r_visloc.poses import Correspondences, Method

from .clusters import clusters
from .evidence import Evidence, ImageEvidence, covered_cells
from .options import LocalizationOptions

FIRST_IMAGES = 5
"""Map images that are always tried."""

NEXT_IMAGES = 3
"""Map images between two looks at the pose."""

ENOUGH_INLIERS = 100
LEAST_GROWTH = 0.05
"""Of what the inliers cover of the query, by the last images: with less, further ones would not help."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What the tried map images lead to.

    Attributes:
        names: of the map images that were tried.
        correspondences: of all of them, or, with clusters, of all too: those of other clusters are no
            inliers.
        result: of PnP, or in its form.
        method: how it was found.
    """

    names: Sequence[str]
    correspondences: Correspondences
    result: PnPResult
    method: Method = "pnp"


def search(
    names: Sequence[str],
    match: Callable[[Sequence[str]], Iterator[tuple[str, ImageEvidence]]],
    camera: QueryCamera,
    options: LocalizationOptions,
) -> Solution:
    """Match candidates in groups, and stop once the pose is settled.

    It is settled when it has `ENOUGH_INLIERS` and the last group made what they cover of the query grow by
    less than `LEAST_GROWTH`.

    Args:
        names: map images to try, best first.
        match: matches some of them; leaves out those that cannot be read.
        camera: of the query.
        options: of the search.
    """
    evidence = Evidence()
    solution, covered = solve(evidence, camera, options), 0
    for group in _groups(names, options):
        for name, part in match(group):
            evidence.add(name, part)
        solution = solve(evidence, camera, options)
        before, covered = covered, _covered(solution, camera)
        enough = solution.result.success and solution.result.num_inliers >= ENOUGH_INLIERS
        if enough and covered <= (1 + LEAST_GROWTH) * before:
            break
    return solution


def _groups(names: Sequence[str], options: LocalizationOptions) -> Iterator[Sequence[str]]:
    if options.exhaustive:
        if names:
            yield names
        return
    if names:
        yield names[:FIRST_IMAGES]
    for start in range(FIRST_IMAGES, len(names), NEXT_IMAGES):
        yield names[start : start + NEXT_IMAGES]


def _covered(solution: Solution, camera: QueryCamera) -> int:
    xy = solution.correspondences.query_xy[solution.result.inliers]
    return covered_cells(xy, camera.camera.shape)


def solve(evidence: Evidence, camera: QueryCamera, options: LocalizationOptions) -> Solution:
    """The pose that the evidence so far speaks for; with clusters, that of the best one.

    Args:
        evidence: of the map images.
        camera: of the query.
        options: of PnP.
    """
    found = evidence.joined()
    every = np.ones(len(found), dtype=bool)
    groups = [every]
    if options.cluster:
        connected = clusters(evidence.parts)
        groups = [np.isin(found.map_image, images) for images in connected] or [every]
    best: Solution | None = None
    for rows in groups:
        result = _solve_rows(found, rows, camera, options)
        if best is None or (result.success, result.num_inliers) > (
            best.result.success,
            best.result.num_inliers,
        ):
            marked = dataclasses.replace(found, inlier=result.inliers)
            best = Solution(tuple(evidence.names), marked, result)
    assert best is not None
    return best


def agreeing(
    parts: Sequence[ImageEvidence], camera: QueryCamera, options: LocalizationOptions
) -> list[ImageEvidence]:
    """Of each map image the matches that agree with the pose that all of them speak for.

    Args:
        parts: what each map image says.
        camera: of the query.
        options: of PnP.

    Returns:
        In their order; all matches if no pose is found.
    """
    evidence = Evidence(["" for _ in parts], list(parts))
    solution = solve(evidence, camera, options)
    if not solution.result.success:
        return list(parts)
    found = solution.correspondences
    return [part.select(found.inlier[found.map_image == number]) for number, part in enumerate(parts)]


def _solve_rows(
    found: Correspondences, rows: np.ndarray, camera: QueryCamera, options: LocalizationOptions
) -> PnPResult:
    result = estimate_pose(
        found.query_xy[rows],
        found.xyz[rows],
        camera.camera,
        solver=options.solver,
        threshold=options.threshold,
        min_inliers=options.min_inliers,
        max_chance=options.max_chance,
        max_points=options.max_points,
        weights=found.confidence[rows],
        seed=options.seed,
        focal=camera.focal,
        covariance=options.covariance,
    )
    inliers = np.zeros(len(rows), dtype=bool)
    inliers[rows] = result.inliers
    return dataclasses.replace(result, inliers=inliers)
