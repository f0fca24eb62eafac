"""Databases and COLMAP's mappers on exact matches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest

from mast3r_model import InputError, NothingFoundError, OutputError
from mast3r_sfm.cameras import read_cameras
from mast3r_sfm.colmap.database import MappingImage, write_database
from mast3r_sfm.colmap.mapping import run_mapper, triangulate_known_poses, verify_geometry
from mast3r_sfm.colmap.models import reconstruction_cameras, reconstruction_tracks
from mast3r_sfm.evaluation.cameras import compare_cameras
from mast3r_sfm.keypoints import KeypointGraph, keypoint_graph
from mast3r_sfm.scene import PointCloud, Scene, Tracks


def mapping_images(matched: Any, *, known: bool) -> list[MappingImage]:
    return [
        MappingImage(image.name, image.transform, image.intrinsics if known else None)
        for image in matched.images
    ]


@pytest.fixture(scope="module")
def graph(matched: Any) -> KeypointGraph:
    return keypoint_graph([image.transform.network_shape for image in matched.images], matched.pairs)


@pytest.fixture
def database(matched: Any, graph: KeypointGraph, tmp_path: Path) -> Path:
    path = tmp_path / "database.db"
    write_database(path, mapping_images(matched, known=True), graph)
    verify_geometry(path, threads=1)
    return path


def test_what_a_database_holds(matched: Any, graph: KeypointGraph, tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    write_database(path, mapping_images(matched, known=False), graph, already_verified=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["database.db"]
    with pycolmap.Database.open(path) as database:
        assert database.num_cameras() == database.num_images() == database.num_frames() == 5
        camera = database.read_camera(2)
        assert camera.model_name == "SIMPLE_RADIAL"
        assert camera.params.tolist() == [1.2 * 128, 64, 55, 0]
        assert not camera.has_prior_focal_length
        assert database.read_image(3).name == matched.images[2].name
        first = matched.pairs[0, 1]
        matches = database.read_matches(1, 2)
        xy = database.read_keypoints(1)[matches[:, 0], :2]
        expected = matched.images[0].transform.points_to_original(first.xy0.numpy().astype(np.float64)) + 0.5
        assert {tuple(row) for row in np.round(xy, 3)} == {tuple(row) for row in np.round(expected, 3)}
        assert len(database.read_two_view_geometry(1, 2).inlier_matches) == len(matches)


def test_a_shared_camera(matched: Any, graph: KeypointGraph, tmp_path: Path) -> None:
    write_database(tmp_path / "shared.db", mapping_images(matched, known=False), graph, shared_camera=True)
    with pycolmap.Database.open(tmp_path / "shared.db") as database:
        assert database.num_cameras() == 1
        assert {image.camera_id for image in database.read_all_images()} == {1}
    with pytest.raises(InputError, match="intrinsics"):
        write_database(tmp_path / "other.db", mapping_images(matched, known=True), graph, shared_camera=True)


def test_an_existing_database_stays(matched: Any, graph: KeypointGraph, tmp_path: Path) -> None:
    (tmp_path / "database.db").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_database(tmp_path / "database.db", mapping_images(matched, known=True), graph)
    assert (tmp_path / "database.db").read_text() == "mine"


@pytest.mark.parametrize("mapper", ["colmap", "glomap"])
def test_mappers_find_the_cameras(matched: Any, database: Path, tmp_path: Path, mapper: str) -> None:
    (model,) = run_mapper(database, None, tmp_path / "models", mapper=mapper, threads=1)
    truth = Scene(matched.images, PointCloud.empty(), Tracks.empty()).cameras()
    found = reconstruction_cameras(model)
    np.testing.assert_allclose(found.intrinsics, truth.subset(truth.find(found.names)).intrinsics, atol=1e-9)
    result = compare_cameras(found, truth)
    assert result.registered == 1.0
    assert result.rotation_error_mean < 0.4  # matches are rounded to a pixel of 0.9 degrees
    assert result.rra[5] == result.rta[30] == 1.0
    assert read_cameras(tmp_path / "models").names == found.names
    tracks = reconstruction_tracks(model, truth.names)
    assert len(tracks) == model.num_points3D()
    mean = np.bincount(tracks.track, tracks.reprojection_error) / np.bincount(tracks.track)
    errors = [model.points3D[number].error for number in sorted(model.points3D)]
    np.testing.assert_allclose(mean, errors, rtol=0.05, atol=0.05)


def test_known_poses_are_kept(matched: Any, database: Path, tmp_path: Path) -> None:
    truth = Scene(matched.images, PointCloud.empty(), Tracks.empty()).cameras()
    model = triangulate_known_poses(database, truth, None, tmp_path / "model", threads=1)
    found = reconstruction_cameras(model)
    np.testing.assert_allclose(found.cam2world, truth.cam2world, atol=1e-9)
    assert model.num_points3D() > 100
    assert model.compute_mean_reprojection_error() < 1.5
    with pytest.raises(InputError, match="known cameras"):
        triangulate_known_poses(database, truth.subset([]), None, tmp_path / "none")


def test_nothing_to_map(matched: Any, tmp_path: Path) -> None:
    empty = keypoint_graph([image.transform.network_shape for image in matched.images], {})
    write_database(tmp_path / "empty.db", mapping_images(matched, known=True), empty)
    verify_geometry(tmp_path / "empty.db", threads=1)
    for mapper in ("colmap", "glomap"):
        with pytest.raises(NothingFoundError):
            run_mapper(tmp_path / "empty.db", None, tmp_path / "models", mapper=mapper, threads=1)
    with pytest.raises(InputError, match="no such database"):
        run_mapper(tmp_path / "none.db", None, tmp_path / "models")
