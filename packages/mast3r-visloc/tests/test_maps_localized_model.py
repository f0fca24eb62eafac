"""The map and the photos localised in it as one COLMAP model, read back by COLMAP."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from mast3r_model import OutputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.maps import LocalizationMap, open_colmap_model, read_map, write_localized_model
from mast3r_visloc.poses import Correspondences, Pose

from .map_world import Shot, World

WORLD = World()
QUERY = WORLD.shots[2]


def localised(map: LocalizationMap, shot: Shot = QUERY, name: str = "query/new.jpg") -> Pose:
    """The pose of a shot, with all that three map images see of it as correspondences."""
    rows = []
    candidates = [other.name for other in WORLD.shots if other.name != shot.name]
    for number, candidate in enumerate(candidates):
        load = map.images[map.index_of[candidate]].load_points
        points = load()
        if hasattr(points, "point_ids"):
            xyz, xy = points.xyz, points.xy
        else:
            xyz, xy = WORLD.points, np.zeros((len(WORLD.points), 2))
        query_xy, _ = shot.project(xyz)
        confidence = np.linspace(1, 2, len(xyz)) + number
        rows += [(*q, number, *m, *p, c) for q, m, p, c in zip(query_xy, xy, xyz, confidence, strict=True)]
    table = np.array(rows)
    inlier = np.ones(len(table), dtype=bool)
    inlier[-3:] = False
    found = Correspondences(
        table[:, :2], table[:, 2].astype(int), table[:, 3:5], table[:, 5:8], table[:, 8], inlier
    )
    camera = Camera.from_intrinsics(shot.K, shot.shape)
    return Pose(name, True, shot.pose, camera, "given", int(inlier.sum()), candidates, found, "pnp")


@pytest.mark.parametrize("rig", [False, True])
def test_inliers_become_observations(tmp_path: Path, rig: bool) -> None:
    WORLD.write_colmap(tmp_path / "map", rig=rig)
    WORLD.write_photos(tmp_path)
    map = read_map(tmp_path / "map")
    pose = localised(map)
    failed = dataclasses.replace(pose, name="dark.jpg", success=False, cam2world=None)
    again = dataclasses.replace(pose, name=QUERY.name)
    write_localized_model(map, [pose, failed, again], tmp_path / "out/colmap")
    model = pycolmap.Reconstruction(tmp_path / "out/colmap")
    assert model.is_valid()
    assert model.num_reg_images() == 6
    assert model.find_image_with_name("dark.jpg") is None
    assert model.find_image_with_name(f"localized/{QUERY.name}") is not None
    image = model.find_image_with_name("query/new.jpg")
    np.testing.assert_allclose(image.cam_from_world().inverse().matrix(), QUERY.pose[:3], atol=1e-9)
    np.testing.assert_allclose(image.camera.params, QUERY.colmap_params)
    # Every observed point is one of the inliers', once, at the query's pixel in COLMAP's convention.
    found = pose.correspondences
    seen = [point.point3D_id for point in image.points2D]
    assert len(set(seen)) == len(seen)
    expected = {tuple(xyz) for xyz in found.xyz[found.inlier].round(9)}
    assert {tuple(model.points3D[number].xyz.round(9)) for number in seen} == expected
    for point in image.points2D:
        pixels, _ = QUERY.project(model.points3D[point.point3D_id].xyz[None])
        np.testing.assert_allclose(point.xy, pixels[0] + 0.5, atol=1e-6)
    # The map itself is unchanged.
    before = open_colmap_model(tmp_path / "map")
    for number, old in before.images.items():
        assert model.images[number].name == old.name
        np.testing.assert_array_equal(
            [point.xy for point in model.images[number].points2D], [point.xy for point in old.points2D]
        )
    assert model.num_points3D() == before.num_points3D()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["colmap"]


def test_a_map_that_is_no_colmap_model(tmp_path: Path) -> None:
    WORLD.write_kapture(tmp_path / "map")
    map = read_map(tmp_path / "map")
    write_localized_model(map, [localised(map)], tmp_path / "model")
    model = pycolmap.Reconstruction(tmp_path / "model")
    assert (model.num_reg_images(), model.num_points3D(), model.is_valid()) == (5, 0, True)
    for shot in WORLD.shots:
        image = model.find_image_with_name(shot.name)
        np.testing.assert_allclose(image.cam_from_world().inverse().matrix(), shot.pose[:3], atol=1e-9)
        np.testing.assert_allclose(image.camera.params, shot.colmap_params)
    image = model.find_image_with_name("query/new.jpg")
    np.testing.assert_allclose(image.cam_from_world().inverse().matrix(), QUERY.pose[:3], atol=1e-9)


def test_points_kept_in_float32_are_still_known(tmp_path: Path) -> None:
    WORLD.write_colmap(tmp_path)
    WORLD.write_photos(tmp_path)
    map = read_map(tmp_path)
    pose = localised(map)
    found = pose.correspondences
    rounded = dataclasses.replace(found, xyz=found.xyz.astype(np.float32).astype(float))
    elsewhere = dataclasses.replace(found, xyz=found.xyz + 0.01)
    write_localized_model(map, [dataclasses.replace(pose, correspondences=rounded)], tmp_path / "a")
    write_localized_model(map, [dataclasses.replace(pose, correspondences=elsewhere)], tmp_path / "b")
    counts = [
        pycolmap.Reconstruction(tmp_path / name).find_image_with_name("query/new.jpg").num_points3D
        for name in "ab"
    ]
    assert counts[0] > 30
    assert counts[1] == 0


def test_an_earlier_model_is_replaced_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WORLD.write_colmap(tmp_path / "map")
    WORLD.write_photos(tmp_path)
    map = read_map(tmp_path / "map")
    out = tmp_path / "out" / "colmap"
    write_localized_model(map, [], out)
    (out / "old.txt").write_text("of the earlier model")
    write_localized_model(map, [localised(map)], out)
    assert not (out / "old.txt").exists()
    assert pycolmap.Reconstruction(out).num_reg_images() == 5

    def full_disk(self: pycolmap.Reconstruction, folder: Path) -> None:
        for name in ("cameras", "images", "points3D", "rigs", "frames"):
            (folder / f"{name}.bin").write_bytes(b"\1\0\0")

    monkeypatch.setattr(pycolmap.Reconstruction, "write_binary", full_disk)
    with pytest.raises(OutputError, match="colmap"):
        write_localized_model(map, [], out)
    assert [path.name for path in out.parent.iterdir()] == ["colmap"]
    assert pycolmap.Reconstruction(out).num_reg_images() == 5
