"""Coarse to fine: windows of large photos (spec 50 A6, D3.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_visloc import Localizer, Pose
from mast3r_visloc.localizing import LocalizationOptions
from mast3r_visloc.localizing.fine_matching import FinePhoto
from mast3r_visloc.localizing.photos import read_photo

from .patch_network import PatchNetwork
from .wave_world import Shot, make_map, pose_gap, shot

SIZE, LARGE = 96, (192, 288)
MAP = shot("map.png", 0.0, 0.05, shape=LARGE)
QUERY = shot("query.png", 0.25, 0.1, yaw=3, shape=LARGE)


def localized(
    folder: Path, query: Shot = QUERY, map_shot: Shot = MAP, kind: str = "sparse", **options: Any
) -> Pose:
    query.save(folder)
    known_map = make_map(folder, [map_shot], kind)
    with Localizer(known_map, PatchNetwork(), retrieval="all", size=SIZE, **options) as localizer:  # type: ignore[arg-type]
        return localizer.localize(folder / query.name, camera=query.camera)


def errors(pose: Pose, query: Shot = QUERY) -> np.ndarray:
    """Pixels of the query's file between matches and the truth."""
    found = pose.correspondences
    assert len(found) > 50
    return np.linalg.norm(query.project(found.xyz) - found.query_xy, axis=1)


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Pose:
    return localized(tmp_path_factory.mktemp("coarse"))


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> Pose:
    return localized(tmp_path_factory.mktemp("fine"), fine=True)


@pytest.mark.parametrize(("homography", "kind"), [(True, "dense"), (False, "sparse")])
def test_fine_matches_are_closer_to_the_truth(
    tmp_path: Path, coarse: Pose, homography: bool, kind: str
) -> None:
    """Plain and rectified windows."""
    fine = localized(tmp_path, fine=True, homography=homography, kind=kind)
    assert np.median(errors(fine)) < 0.8 * np.median(errors(coarse))
    assert np.median(errors(fine)) < 0.5
    assert pose_gap(fine.cam2world, QUERY.pose)[0] < 0.02


def test_rectified_windows_are_other_windows(tmp_path: Path, coarse: Pose, fine: Pose) -> None:
    plain = localized(tmp_path, fine=True, homography=False)
    assert not np.array_equal(plain.correspondences.query_xy[:20], fine.correspondences.query_xy[:20])
    assert np.median(errors(fine)) < 0.8 * np.median(errors(coarse))


def test_each_point_is_found_once(fine: Pose) -> None:
    """Windows overlap; a point of several of them counts where it is surest (trap 6)."""
    assert len(np.unique(fine.correspondences.xyz, axis=0)) == len(fine.correspondences)


def test_matches_lie_on_the_photos(fine: Pose) -> None:
    found = fine.correspondences
    limit = np.array(LARGE[::-1]) - 0.5
    for xy in (found.query_xy, found.map_xy):
        assert ((xy > -0.5) & (xy < limit)).all()
    np.testing.assert_allclose(MAP.project(found.xyz), found.map_xy, atol=1e-6)


def test_small_photos_stay_coarse(tmp_path: Path) -> None:
    small, small_map = (shot(each.name, *each.pose[:2, 3]) for each in (QUERY, MAP))
    plain = localized(tmp_path, small, small_map)
    fine = localized(tmp_path, small, small_map, fine=True)
    assert np.array_equal(plain.correspondences.query_xy, fine.correspondences.query_xy)


@pytest.mark.parametrize("small", ["query", "map"])
def test_either_photo_may_be_small(tmp_path: Path, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the large one show the place no larger than the small one does: patches know no scale."""
    monkeypatch.setattr("mast3r_visloc.localizing.query_matching.LARGEST_GAP", 1.25)
    query, map_shot = QUERY, MAP
    if small == "query":
        query = shot("small.png", 0.25, 0.1, yaw=3)
    else:
        map_shot = shot("small.png", 0.0, 0.05)
    pose = localized(tmp_path, query, map_shot, fine=True)
    assert pose_gap(pose.cam2world, query.pose)[0] < 0.05
    assert np.mean(errors(pose, query) < 3) > 0.7


@pytest.mark.parametrize(
    ("most", "shape"), [(None, (200, 300)), (9, (200, 300)), (2, (128, 192)), (1, (64, 96))]
)
def test_photos_are_enlarged_at_most_so_much(
    tmp_path: Path, most: float | None, shape: tuple[int, int]
) -> None:
    path = shot("photo.png", 0.0, shape=(200, 300)).save(tmp_path)
    fine = FinePhoto.of(
        read_photo(path, size=SIZE, patch_size=16), None, LocalizationOptions(size=SIZE), most=most
    )
    assert fine.working.shape == shape
    assert fine.enlargement == pytest.approx(shape[1] / 96)
    assert fine.working.network_sees_it_all == (most == 1)


def test_photos_without_matches_have_none(tmp_path: Path) -> None:
    pose = localized(tmp_path, fine=True, min_confidence=1e12)
    assert len(pose.correspondences) == 0
    assert pose.reason == "few_matches"


@pytest.mark.parametrize(("orientation", "homography"), [(3, False), (6, True), (8, True)])
def test_turned_photos(tmp_path: Path, coarse: Pose, orientation: int, homography: bool) -> None:
    query, map_shot = QUERY.turned("turned.png", orientation), MAP.turned("map-turned.png", 6)
    pose = localized(tmp_path, query, map_shot, fine=True, homography=homography)
    assert np.median(errors(pose, query)) < 0.8 * np.median(errors(coarse))
    assert pose_gap(pose.cam2world, query.pose)[0] < 0.02


def test_mirrored_map_photos_match_too(tmp_path: Path) -> None:
    """No camera sees them so, hence their windows stay plain."""
    pose = localized(tmp_path, map_shot=MAP.turned("map-mirrored.png", 2), fine=True)
    assert pose_gap(pose.cam2world, QUERY.pose)[0] < 0.02


def test_shrunk_first(tmp_path: Path) -> None:
    pose = localized(tmp_path, fine=True, max_image_size=192)
    assert pose_gap(pose.cam2world, QUERY.pose)[0] < 0.02


def test_windows_of_the_query_are_encoded_once_for_all_map_photos(tmp_path: Path) -> None:
    """25 on the lattice of a photo twice as large as the network's input, whatever the number of map photos."""
    maps = [shot(f"map{number}.png", 0.04 * number, 0.05, shape=LARGE) for number in range(6)]
    QUERY.save(tmp_path)
    network = PatchNetwork()
    with Localizer(
        make_map(tmp_path, maps, "sparse"), network, retrieval="all", size=SIZE, fine=True, exhaustive=True
    ) as localizer:
        localizer.localize(tmp_path / QUERY.name, camera=QUERY.camera)
    pairs_of_windows = network.pairs - len(maps)
    windows = network.encoded - len(maps) - 1
    assert pairs_of_windows > 50
    assert windows <= pairs_of_windows + 25


def test_map_photos_that_cannot_be_read_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all of a group cannot."""
    monkeypatch.setattr("mast3r_visloc.localizing.query_matching.IMAGES_IN_MEMORY", 1)
    QUERY.save(tmp_path)
    maps = [MAP, shot("other.png", 0.1, 0.05, shape=LARGE)]
    known_map = make_map(tmp_path, maps, "sparse")
    known_map.images[known_map.index_of["other.png"]].path.write_bytes(b"no photo")
    with Localizer(known_map, PatchNetwork(), retrieval="all", size=SIZE, fine=True) as localizer:
        pose = localizer.localize(tmp_path / QUERY.name, camera=QUERY.camera)
    assert pose_gap(pose.cam2world, QUERY.pose)[0] < 0.02
