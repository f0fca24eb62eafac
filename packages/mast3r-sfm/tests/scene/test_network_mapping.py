"""Matches of the network to cameras by COLMAP's mappers, on exact matches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model import InputError, NothingFoundError
from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.colmap.depth_scale import depth_scale
from mast3r_sfm.colmap.network_mapping import ColmapGroup, ColmapOptions, map_with_colmap
from mast3r_sfm.evaluation.cameras import compare_cameras
from mast3r_sfm.known_cameras import KnownCameras
from mast3r_sfm.photos import ImageSet, SourceImage
from mast3r_sfm.scene import PointCloud, Scene, Tracks

ONE = ColmapOptions(threads=1)


@pytest.fixture(scope="module")
def images(matched: Any) -> ImageSet:
    return ImageSet(
        tuple(
            SourceImage(image.name, Path(image.name), image.color, image.transform, image.name)
            for image in matched.images
        )
    )


@pytest.fixture(scope="module")
def truth(matched: Any) -> PosedCameras:
    return Scene(matched.images, PointCloud.empty(), Tracks.empty()).cameras()


def cameras_of(images: ImageSet, group: ColmapGroup) -> PosedCameras:
    names = tuple(images.names[number] for number in group.numbers)
    shapes = tuple(images[number].transform.original_shape for number in group.numbers)
    return PosedCameras(names, shapes, group.intrinsics, group.cam2world)


@pytest.fixture(scope="module")
def mapped(images: ImageSet, matched: Any, truth: PosedCameras) -> ColmapGroup:
    placement = map_with_colmap(images, matched.pairs, known=KnownCameras(intrinsics=truth), options=ONE)
    assert placement.dropped == ()
    (group,) = placement.groups
    return group


def test_cameras_are_found(images: ImageSet, truth: PosedCameras, mapped: ColmapGroup) -> None:
    assert sorted(mapped.numbers) == list(range(5))
    found = cameras_of(images, mapped)
    np.testing.assert_allclose(found.intrinsics, truth.intrinsics, rtol=1e-9)
    assert compare_cameras(found, truth).rotation_error_mean < 0.4
    tracks, world2cam = mapped.tracks, np.linalg.inv(mapped.cam2world)
    seen = np.einsum("mij,mj->mi", world2cam[tracks.image, :3, :3], tracks.positions[tracks.track])
    seen = np.einsum("mij,mj->mi", mapped.intrinsics[tracks.image], seen + world2cam[tracks.image, :3, 3])
    error = np.linalg.norm(seen[:, :2] / seen[:, 2:] - tracks.xy, axis=1)
    np.testing.assert_allclose(error, tracks.reprojection_error, rtol=0.02, atol=1e-6)
    assert np.median(error) < 1.5  # a network pixel is two of the photo, and matches are rounded


def test_points_have_the_photos_colours(images: ImageSet, mapped: ColmapGroup) -> None:
    tracks = mapped.tracks
    single = np.zeros((len(tracks), 3))
    for place, number in enumerate(mapped.numbers):
        own = tracks.image == place
        x, y = images[number].transform.points_to_network(tracks.xy[own]).round().astype(int).T
        np.add.at(single, tracks.track[own], images[number].pixels[y, x])
    mean = single / np.bincount(tracks.track)[:, None]
    np.testing.assert_allclose(tracks.colors, mean, atol=0.51)
    assert tracks.colors.any()


@pytest.mark.parametrize("mapper", ["colmap", "glomap"])
def test_unknown_intrinsics_start_from_a_guess(
    images: ImageSet, matched: Any, truth: PosedCameras, mapper: Any
) -> None:
    guesses = [float(image.network_intrinsics[0, 0]) for image in matched.images]
    placement = map_with_colmap(
        images,
        matched.pairs,
        shared_intrinsics=True,
        focal_guesses=guesses,
        options=replace(ONE, mapper=mapper),
    )
    (group,) = placement.groups
    assert compare_cameras(cameras_of(images, group), truth).focal_error_mean < 0.1
    focals = group.intrinsics[:, 0, 0]
    np.testing.assert_allclose(focals, focals[0], rtol=1e-9)


def test_known_poses_stay_and_others_join(images: ImageSet, matched: Any, truth: PosedCameras) -> None:
    known = KnownCameras(intrinsics=truth, poses=truth.subset([0, 2, 4]))
    placement = map_with_colmap(images, matched.pairs, known=known, options=ONE)
    (group,) = placement.groups
    assert len(group.numbers) == 5
    for place, number in enumerate(group.numbers):
        tolerance = 1e-9 if number in (0, 2, 4) else 0.05
        np.testing.assert_allclose(group.cam2world[place], truth.cam2world[number], atol=tolerance)
    with pytest.raises(InputError, match="cannot keep known poses"):
        map_with_colmap(images, matched.pairs, known=known, options=replace(ONE, mapper="glomap"))


def test_what_cannot_be_placed_is_named(images: ImageSet, matched: Any) -> None:
    pairs = {pair: found for pair, found in matched.pairs.items() if 3 not in pair}
    placement = map_with_colmap(images, pairs, options=ONE, focal_guesses=[70.0] * 5)
    assert [drop.name for drop in placement.dropped] == [images.names[3]]
    nothing = map_with_colmap(images, {}, options=ONE)
    assert nothing.groups == ()
    assert [drop.name for drop in nothing.dropped] == list(images.names)


def test_the_networks_depth_gives_the_scale(matched: Any, mapped: ColmapGroup, truth: PosedCameras) -> None:
    chosen = [matched.images[number] for number in mapped.numbers]
    depths = [image.depth * (1.1 if place == 1 else 1.0) for place, image in enumerate(chosen)]
    scale = depth_scale(mapped, depths, [image.transform for image in chosen])
    centres, true = mapped.cam2world[:, :3, 3], truth.cam2world[list(mapped.numbers), :3, 3]
    spread = [np.linalg.norm(where - where.mean(0)) for where in (centres, true)]
    assert scale.world == pytest.approx(spread[1] / spread[0], rel=0.03)
    expected = np.where(np.arange(5) == 1, 1 / 1.1, 1)
    np.testing.assert_allclose(scale.images, expected, rtol=0.03)
    none = [np.zeros_like(image.depth) for image in chosen]
    with pytest.raises(NothingFoundError):
        depth_scale(mapped, none, [image.transform for image in chosen])
