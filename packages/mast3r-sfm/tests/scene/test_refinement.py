"""Bundle adjustment of scenes: what it repairs, what it keeps, when it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.evaluation.cameras import compare_cameras
from mast3r_sfm.known_cameras import KnownCameras
from mast3r_sfm.points import confident_points
from mast3r_sfm.refinement import RefinementOptions, refine_scene
from mast3r_sfm.scene import PointCloud, Scene, SceneImage, Tracks


def seen_tracks(images: Sequence[SceneImage], step: int, noise: float = 0.0) -> Tracks:
    """Points of the first image of each group in all images of the group that see them."""
    random = np.random.default_rng(1)
    positions: list[np.ndarray] = []
    rows: list[tuple[float, ...]] = []
    for first in {image.component: image for image in reversed(images)}.values():
        for point in first.pts3d()[::step, ::step].reshape(-1, 3).astype(np.float64):
            seen = []
            for index, other in enumerate(images):
                x, y, z = other.intrinsics @ (other.world2cam @ [*point, 1])[:3]
                inside = 0 <= x / z < other.original_shape[1] and 0 <= y / z < other.original_shape[0]
                if other.component == first.component and inside:
                    seen.append((len(positions), index, x / z, y / z))
            if len(seen) > 1:
                positions.append(point)
                rows += seen
    table = np.array(rows)
    xy = table[:, 2:] + noise * random.standard_normal((len(table), 2))
    black = np.zeros((len(positions), 3))
    return Tracks(np.array(positions), black, table[:, 0], table[:, 1], xy, np.zeros(len(table)))


def shaken(images: Sequence[SceneImage], *, focal: float = 0.03) -> tuple[SceneImage, ...]:
    """The same images with wrong cameras; depth maps stay right for the true ones."""
    random = np.random.default_rng(2)
    moved = []
    for image in images:
        pose, K = image.cam2world.copy(), image.intrinsics.copy()
        pose[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(0.01 * random.standard_normal(3)).as_matrix()
        pose[:3, 3] += 0.03 * random.standard_normal(3)
        K[:2, :2] *= np.exp(focal * random.standard_normal())
        moved.append(replace(image, cam2world=pose, intrinsics=K))
    return tuple(moved)


def cameras_of(images: Sequence[SceneImage]) -> PosedCameras:
    return Scene(tuple(images), PointCloud.empty(), Tracks.empty()).cameras()


FREE = RefinementOptions(free_focals=True)


@pytest.fixture(scope="module")
def truth(matched: Any) -> tuple[SceneImage, ...]:
    return tuple(matched.images)


@pytest.fixture(scope="module")
def damaged(truth: tuple[SceneImage, ...]) -> Scene:
    images = shaken(truth)
    return Scene(images, confident_points(images, 1.5), seen_tracks(truth, 3, noise=0.05))


def test_wrong_cameras_are_repaired(truth: tuple[SceneImage, ...], damaged: Scene) -> None:
    refined = refine_scene(damaged, options=FREE)
    assert refined.accepted
    assert refined.before is not None
    assert refined.after is not None
    assert refined.after < 0.3 * refined.before
    errors = [compare_cameras(scene.cameras(), cameras_of(truth)) for scene in (damaged, refined.scene)]
    assert errors[1].rotation_error_mean < 0.3 * errors[0].rotation_error_mean
    assert errors[1].ate < 0.3 * errors[0].ate
    assert errors[1].focal_error_mean < 0.5 * errors[0].focal_error_mean
    tracks = refined.scene.tracks
    assert len(tracks.track) > 0.95 * len(damaged.tracks.track)
    assert tracks.reprojection_error.mean() < 0.4
    assert len(refined.scene.points) == len(damaged.points)
    centres = [cameras_of(scene.images).cam2world[:, :3, 3] for scene in (damaged, refined.scene)]
    spread = [np.linalg.norm(c - c.mean(0)) for c in centres]
    assert spread[1] == pytest.approx(spread[0], rel=0.05)


def test_depth_maps_follow_the_tracks(truth: tuple[SceneImage, ...]) -> None:
    images = tuple(replace(image, depth=image.depth * 1.3) for image in shaken(truth))
    tracks = seen_tracks(truth, 3)
    # depth maps agree with the points where they are: the whole world but for the cameras is too large
    far = truth[2].cam2world[:3, 3] + 1.3 * (tracks.positions - truth[2].cam2world[:3, 3])
    scene = refine_scene(Scene(images, PointCloud.empty(), replace(tracks, positions=far))).scene
    for index, image in enumerate(scene.images):
        own = scene.tracks.image == index
        points = scene.tracks.positions[scene.tracks.track[own]]
        depth = (points @ image.world2cam[:3, :3].T + image.world2cam[:3, 3])[:, 2]
        x, y = image.transform.points_to_network(scene.tracks.xy[own]).round().astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < image.depth.shape[1]) & (y < image.depth.shape[0])
        ratio = depth[inside] / image.depth[y[inside], x[inside]]
        assert np.median(ratio) == pytest.approx(1, abs=0.03)


def test_what_is_known_stays_to_the_bit(truth: tuple[SceneImage, ...], damaged: Scene) -> None:
    known = KnownCameras(intrinsics=cameras_of(truth[:2]), poses=cameras_of([truth[1], truth[4]]))
    exact = {1: truth[1], 4: truth[4]}
    images = tuple(
        replace(
            image,
            cam2world=exact[k].cam2world if k in exact else image.cam2world,
            intrinsics=truth[k].intrinsics if k < 2 else image.intrinsics,
        )
        for k, image in enumerate(damaged.images)
    )
    refined = refine_scene(replace(damaged, images=images), known=known, options=FREE)
    assert refined.accepted
    for k, (before, after) in enumerate(zip(images, refined.scene.images, strict=True)):
        assert np.array_equal(before.intrinsics, after.intrinsics) == (k < 2)
        assert np.array_equal(before.cam2world, after.cam2world) == (k in exact)
    loose = replace(known, focal_sigma=0.1, rotation_sigma=0.1, likely_focals={images[2].name: 100.0})
    moved = refine_scene(replace(damaged, images=images), known=loose, options=FREE).scene.images
    stayed = [
        np.array_equal(after.intrinsics, before.intrinsics)
        for before, after in zip(images, moved, strict=True)
    ]
    assert stayed == [True, True, True, False, False]
    assert not np.array_equal(moved[1].cam2world, images[1].cam2world)


def test_one_known_pose_holds_the_world(truth: tuple[SceneImage, ...], damaged: Scene) -> None:
    known = KnownCameras(poses=cameras_of([damaged.images[2]]))
    refined = refine_scene(damaged, known=known)
    assert refined.accepted
    assert np.array_equal(refined.scene.images[2].cam2world, damaged.images[2].cam2world)
    assert compare_cameras(refined.scene.cameras(), cameras_of(truth)).rotation_error_mean < 0.3


def test_all_cameras_known(truth: tuple[SceneImage, ...], damaged: Scene) -> None:
    known = KnownCameras(intrinsics=cameras_of(truth), poses=cameras_of(truth))
    refined = refine_scene(damaged, known=known)
    assert not refined.accepted
    assert refined.scene is damaged
    assert "known" in refined.groups[0].reason


def test_shared_intrinsics_stay_shared(truth: tuple[SceneImage, ...]) -> None:
    K = np.array([[140.0, 0, 63], [0, 141, 55.5], [0, 0, 1]])
    wrong = np.diag([1.05, 1.05, 1]) @ K
    wrong[:2, 2] = K[:2, 2]
    exact = tuple(replace(image, intrinsics=K) for image in truth)
    images = tuple(replace(image, intrinsics=wrong) for image in shaken(exact, focal=0))
    scene = Scene(images, PointCloud.empty(), seen_tracks(exact, 4, noise=0.2))
    found = refine_scene(scene, shared_intrinsics=True, options=FREE).scene.images
    assert all(np.array_equal(image.intrinsics, found[0].intrinsics) for image in found)
    np.testing.assert_allclose(found[0].intrinsics, K, rtol=0.01)
    apart = refine_scene(scene, options=FREE).scene.images
    assert not np.array_equal(apart[0].intrinsics, apart[1].intrinsics)


def test_focal_lengths_stay_unless_asked_for(damaged: Scene) -> None:
    """Held-out tracks do not tell whether it runs off."""
    refined = refine_scene(damaged)
    assert refined.accepted
    for before, after in zip(damaged.images, refined.scene.images, strict=True):
        assert np.array_equal(before.intrinsics, after.intrinsics)
        assert not np.array_equal(before.cam2world, after.cam2world)


def test_what_does_not_help_is_refused(truth: tuple[SceneImage, ...]) -> None:
    scene = Scene(truth, PointCloud.empty(), seen_tracks(truth, 6, noise=1.0))
    options = RefinementOptions(held_out=0.5, min_observations=5)
    refined = refine_scene(scene, options=options)
    assert not refined.accepted
    assert refined.scene is scene
    (group,) = refined.groups
    assert group.before is not None
    assert group.after is not None
    assert group.after >= group.before
    assert "did not see" in group.reason
    assert refine_scene(scene, options=replace(options, always=True)).accepted


def test_few_tracks(truth: tuple[SceneImage, ...]) -> None:
    scene = Scene(shaken(truth), PointCloud.empty(), seen_tracks(truth, 12))
    refined = refine_scene(scene)
    assert refined.scene is scene
    assert refined.before is None
    assert "it takes 50" in refined.groups[0].reason
    empty = replace(scene, tracks=Tracks.empty())
    assert refine_scene(empty).scene is empty


def test_groups_are_judged_one_by_one(truth: tuple[SceneImage, ...], damaged: Scene) -> None:
    others = tuple(replace(image, name=f"other/{image.name}", component=1) for image in truth[:2])
    images = (others[0], *damaged.images, others[1])
    tracks = seen_tracks((others[0], *truth, others[1]), 3)
    few = tracks.track < np.flatnonzero(np.bincount(tracks.track[tracks.image == 0]))[:20][-1]
    kept = (tracks.image > 0) & (tracks.image < 6) | few
    numbers, track = np.unique(tracks.track[kept], return_inverse=True)
    tracks = Tracks(
        tracks.positions[numbers],
        tracks.colors[numbers],
        track,
        tracks.image[kept],
        tracks.xy[kept],
        np.zeros(len(track)),
    )
    refined = refine_scene(Scene(images, PointCloud.empty(), tracks))
    assert [group.accepted for group in refined.groups] == [True, False]
    assert [image.name for image in refined.scene.images] == [image.name for image in images]
    assert refined.scene.images[0] is others[0]
    assert len(refined.scene.tracks) == len(tracks)
    again = refine_scene(Scene(images, PointCloud.empty(), tracks))
    for one, other in zip(refined.scene.images, again.scene.images, strict=True):
        np.testing.assert_array_equal(one.cam2world, other.cam2world)


def test_an_image_with_few_observations_stays(truth: tuple[SceneImage, ...], damaged: Scene) -> None:
    tracks = damaged.tracks
    kept = (tracks.image != 4) | (tracks.track < 8)
    fewer = Tracks(
        tracks.positions,
        tracks.colors,
        tracks.track[kept],
        tracks.image[kept],
        tracks.xy[kept],
        tracks.reprojection_error[kept],
    )
    refined = refine_scene(replace(damaged, tracks=fewer))
    assert refined.accepted
    np.testing.assert_array_equal(refined.scene.images[4].cam2world, damaged.images[4].cam2world)
    assert not np.array_equal(refined.scene.images[3].cam2world, damaged.images[3].cam2world)


def test_tracks_are_found_anew_as_long_as_it_helps(truth: tuple[SceneImage, ...], damaged: Scene) -> None:
    asked: list[np.ndarray] = []

    def find_tracks(images: tuple[SceneImage, ...]) -> Tracks:
        asked.append(images[0].cam2world)
        return damaged.tracks

    refined = refine_scene(damaged, find_tracks=find_tracks)
    assert refined.rounds >= 1
    assert 1 <= len(asked) <= 4
    np.testing.assert_array_equal(asked[-1], refined.scene.images[0].cam2world)
    assert refined.scene.tracks is damaged.tracks
    once = refine_scene(damaged, find_tracks=find_tracks, options=RefinementOptions(rounds=1))
    assert once.rounds == 1
    assert refine_scene(damaged).rounds == 1
