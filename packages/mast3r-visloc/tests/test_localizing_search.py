"""When to stop looking at further map images; clusters (spec 50 D2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from mast3r_visloc.cameras import QueryCamera
from mast3r_visloc.localizing import LocalizationOptions
from mast3r_visloc.localizing.clusters import clusters
from mast3r_visloc.localizing.evidence import Evidence, ImageEvidence, covered_cells
from mast3r_visloc.localizing.search import ENOUGH_INLIERS, FIRST_IMAGES, NEXT_IMAGES, agreeing, search, solve

from .wave_world import pose_gap, shot

QUERY = shot("query.png", 0.3, 0.1, yaw=3, shape=(240, 320))
CAMERA = QueryCamera(QUERY.camera, "given", True, "known")
NAMES = [f"{number:02}.png" for number in range(20)]


def evidence(
    seed: int, count: int = 200, *, left: float = 0, right: float = 319, shift: float = 0.0, ids: int = 0
) -> ImageEvidence:
    """True correspondences between two columns of the query; `shift` moves the world along x."""
    xy = np.random.default_rng(seed).uniform([left, 0], [right, 239], (count, 2))
    xyz = QUERY.wall(xy) + np.array([shift, 0, 0])
    return ImageEvidence(xy, xy, xyz, np.ones(count), ids + np.arange(count))


class Matcher:
    """Counts what it is asked for."""

    def __init__(self, found: Callable[[int], ImageEvidence]) -> None:
        self.found = found
        self.groups: list[list[str]] = []

    @property
    def asked_for(self) -> list[str]:
        return [name for group in self.groups for name in group]

    def __call__(self, names: Sequence[str]) -> Iterator[tuple[str, ImageEvidence]]:
        self.groups.append(list(names))
        for name in names:
            yield name, self.found(NAMES.index(name))


def test_it_stops_when_further_images_cover_nothing_new() -> None:
    matcher = Matcher(lambda number: evidence(0, 600))
    found = search(NAMES, matcher, CAMERA, LocalizationOptions())
    assert [len(group) for group in matcher.groups] == [FIRST_IMAGES, NEXT_IMAGES]
    assert list(found.names) == NAMES[: FIRST_IMAGES + NEXT_IMAGES]
    assert found.result.success
    assert pose_gap(found.result.cam2world, QUERY.pose)[0] < 1e-3


def test_it_goes_on_while_they_cover_more() -> None:
    matcher = Matcher(lambda number: evidence(number, left=16 * number, right=16 * number + 15))
    found = search(NAMES, matcher, CAMERA, LocalizationOptions())
    assert matcher.asked_for == NAMES
    assert list(found.names) == NAMES


def test_it_goes_on_while_there_are_few_inliers() -> None:
    few = (ENOUGH_INLIERS - 1) // len(NAMES)
    matcher = Matcher(lambda number: evidence(0, few))
    search(NAMES, matcher, CAMERA, LocalizationOptions())
    assert matcher.asked_for == NAMES


def test_the_first_images_are_always_tried_and_no_others_asked_for() -> None:
    for count in (1, FIRST_IMAGES, FIRST_IMAGES + 1):
        matcher = Matcher(lambda number: evidence(0, 600))
        search(NAMES[:count], matcher, CAMERA, LocalizationOptions())
        assert matcher.asked_for == NAMES[:count]


def test_exhaustive_tries_all_at_once() -> None:
    matcher = Matcher(lambda number: evidence(0))
    found = search(NAMES, matcher, CAMERA, LocalizationOptions(exhaustive=True))
    assert matcher.groups == [NAMES]
    assert len(found.correspondences) == 20 * 200


@pytest.mark.parametrize("exhaustive", [False, True])
def test_nothing_to_try_is_a_failure(exhaustive: bool) -> None:
    matcher = Matcher(lambda number: evidence(0))
    found = search([], matcher, CAMERA, LocalizationOptions(exhaustive=exhaustive))
    assert not matcher.groups
    assert not found.result.success
    assert found.result.info["failed"] == "few_matches"


def test_clusters_are_connected_by_common_points() -> None:
    points = [{1, 2}, {7, 8}, set(), {2, 3}, {9}, {3, 8}, {20}, {20, 21}]
    parts = [numbered(sorted(own)) for own in points]
    assert sorted(clusters(parts)) == [[0, 1, 3, 5], [4], [6, 7]]
    assert clusters([]) == []
    assert clusters([numbered([])]) == []


def numbered(ids: list[int]) -> ImageEvidence:
    """Points of these numbers, all at one place: where they lie does not matter."""
    count = len(ids)
    return ImageEvidence(
        np.zeros((count, 2)), np.zeros((count, 2)), np.zeros((count, 3)), np.ones(count), np.array(ids, int)
    )


def patch(x: float, side: float = 2.0, step: float = 0.1) -> ImageEvidence:
    """What an image with depth sees of a wall from x to x + side; its numbers are its own."""
    along = np.arange(0, side, step)
    across = np.stack(np.meshgrid(x + along, along), -1).reshape(-1, 2)
    xyz = np.column_stack([across, np.full(len(across), 4.0)])
    ids = np.arange(len(xyz))
    return ImageEvidence(across, across, xyz, np.ones(len(xyz)), ids, numbered=False)


def test_images_with_depth_are_connected_by_the_surface_they_see() -> None:
    """All have the pixel numbers 0, 1, 2, ..., which mean nothing between images."""
    parts = [patch(0.0), patch(10.0), patch(1.53), patch(3.02), patch(11.7), patch(30.0)]
    assert sorted(clusters(parts)) == [[0, 2, 3], [1, 4], [5]]
    assert sorted(clusters([patch(0.0), patch(1.95)])) == [[0, 1]]
    assert sorted(clusters([patch(0.0), patch(2.5)])) == [[0], [1]]
    lone = patch(0.0).select(np.array([3]))
    assert sorted(clusters([lone, patch(0.0), patch(20.0)])) == [[0, 1], [2]]


def test_images_with_and_without_depth() -> None:
    """Those of a map that was completed (--densify)."""
    sparse = dataclasses.replace(patch(0.5, step=0.4), numbered=True)
    assert sorted(clusters([patch(0.0), sparse, patch(9.0)])) == [[0, 1], [2]]


def test_the_best_cluster_gives_the_pose() -> None:
    """Two groups of images that see two copies of the place; the second has more to say."""
    found = Evidence()
    found.add("a", evidence(0, 100, shift=50.0, ids=1000))
    found.add("b", evidence(1, 150))
    found.add("c", evidence(2, 150, ids=100))
    found.add("d", evidence(3, 100, shift=50.0, ids=1050))
    solution = solve(found, CAMERA, LocalizationOptions(cluster=True))
    assert pose_gap(solution.result.cam2world, QUERY.pose)[0] < 1e-3
    correspondences = solution.correspondences
    assert len(correspondences) == 500
    assert set(correspondences.map_image[correspondences.inlier]) == {1, 2}
    assert solution.result.num_inliers == correspondences.inlier.sum() == 300
    assert np.array_equal(solution.result.inliers, correspondences.inlier)


def test_without_clusters_all_count() -> None:
    found = Evidence()
    found.add("a", evidence(0, 100))
    found.add("b", evidence(1, 150, ids=1000))
    assert solve(found, CAMERA, LocalizationOptions()).result.num_inliers == 250
    assert solve(found, CAMERA, LocalizationOptions(cluster=True)).result.num_inliers == 150


def test_covered_cells() -> None:
    xy = np.array([[0, 0], [9.9, 9.9], [10, 0], [0, 10], [319, 239], [-0.4, 0]])
    assert covered_cells(xy, (240, 320)) == 5
    assert covered_cells(np.empty((0, 2)), (240, 320)) == 0


def test_each_point_once_where_it_is_surest() -> None:
    found = ImageEvidence(
        np.arange(10.0).reshape(5, 2),
        np.zeros((5, 2)),
        np.zeros((5, 3)),
        np.array([1.0, 3, 2, 5, 4]),
        np.array([7, 7, 8, 8, 9]),
    ).best_of_each_point()
    assert found.point_ids.tolist() == [7, 8, 9]
    assert found.confidence.tolist() == [3, 5, 4]
    assert found.query_xy[:, 0].tolist() == [2, 6, 8]


def test_matches_that_agree_are_kept_of_each_image() -> None:
    """One image speaks for the pose that the others speak for in part, one for another."""
    half = dataclasses.replace(evidence(1), xyz=evidence(1).xyz + np.arange(200)[:, None] // 100 * 0.7)
    parts = [evidence(0), half, evidence(2, shift=5.0)]
    kept = agreeing(parts, CAMERA, LocalizationOptions())
    assert len(kept[0]) == 200
    assert set(kept[1].point_ids) == set(range(100))
    assert len(kept[2]) == 0


def test_without_a_pose_all_matches_are_kept() -> None:
    parts = [evidence(0, 5), evidence(1, 4, shift=3.0)]
    assert [len(part) for part in agreeing(parts, CAMERA, LocalizationOptions())] == [5, 4]
