"""Exports against the goldens of spec 30 section 12.1, and read back by other libraries."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
import trimesh
from PIL import Image

from mast3r_sfm.appearance import Appearance
from mast3r_sfm.cameras import read_cameras
from mast3r_sfm.exports.camera_list import write_camera_list
from mast3r_sfm.exports.colmap_model import write_colmap
from mast3r_sfm.exports.depth_maps import read_float_tiff, write_depth_maps, write_float_tiff
from mast3r_sfm.exports.glb import GlbView, glb_scene, write_glb
from mast3r_sfm.exports.grid_mesh import grid_mesh
from mast3r_sfm.exports.nerfstudio import write_nerfstudio
from mast3r_sfm.exports.ply import write_ply
from mast3r_sfm.scene import PointCloud, Scene, Tracks
from mast3r_sfm.viewing_frame import viewing_frame

Golden = dict[str, np.ndarray]


@pytest.fixture
def golden(goldens: Callable[[str], Path]) -> Golden:
    return dict(np.load(goldens("sfm/export/export.npz")))


def reloaded(data: bytes) -> list[trimesh.Trimesh | trimesh.PointCloud]:
    scene = trimesh.load(io.BytesIO(data), file_type="glb")
    found = []
    for name in scene.graph.nodes_geometry:
        transform, geometry = scene.graph[name]
        found.append(scene.geometry[geometry].copy())
        found[-1].apply_transform(transform)
    return found


def faces_of(vertices: np.ndarray, faces: np.ndarray, reference: np.ndarray) -> list[tuple[int, ...]]:
    """Faces in the numbers of the nearest reference vertices, each starting at its smallest."""
    nearest = np.linalg.norm(vertices[:, None] - reference[None], axis=-1).argmin(1)
    numbered = [tuple(int(nearest[v]) for v in face) for face in faces]
    return sorted(face[(i := face.index(min(face))) :] + face[:i] for face in numbered)


@pytest.mark.parametrize("cameras", ["edges", "photos"])
@pytest.mark.parametrize("as_mesh", [False, True])
def test_glb_equals_the_golden(golden: Golden, as_mesh: bool, cameras: str) -> None:
    colors = np.round(golden["imgs"] * 255).astype(np.uint8)
    rows = zip(golden["pts3d"], colors, golden["mask"], golden["focals"], golden["cam2w"], strict=True)
    views = [GlbView(p, c, m, float(f), pose.astype(np.float64)) for p, c, m, f, pose in rows]
    scene = glb_scene(views, as_mesh=as_mesh, camera_size=0.2, cameras=cameras)
    found = reloaded(scene.export(file_type="glb"))
    prefix = f"pc{int(not as_mesh)}_tr{int(cameras == 'edges')}_g"
    wanted = [number for number in range(10) if f"{prefix}{number}_vertices" in golden]
    assert len(found) == len(wanted)
    for number in wanted:
        vertices = golden[f"{prefix}{number}_vertices"]
        matching = [
            geometry
            for geometry in found
            if len(geometry.vertices) == len(vertices)
            and np.linalg.norm(geometry.vertices[:, None] - vertices, axis=-1).min(0).max() < 1e-5
            and np.linalg.norm(geometry.vertices[:, None] - vertices, axis=-1).min(1).max() < 1e-5
        ]
        assert len(matching) == 1
        if f"{prefix}{number}_faces" in golden:
            faces = golden[f"{prefix}{number}_faces"]
            assert faces_of(matching[0].vertices, matching[0].faces, vertices) == faces_of(
                vertices, faces, vertices
            )
        elif f"{prefix}{number}_colors" in golden:
            nearest = np.linalg.norm(matching[0].vertices[:, None] - vertices, axis=-1).argmin(0)
            colors_found = matching[0].colors[nearest].astype(int)
            assert np.abs(colors_found - golden[f"{prefix}{number}_colors"]).max() <= 1


def test_grid_triangulation_equals_the_golden(golden: Golden) -> None:
    mesh = grid_mesh(golden["pts3d"][1], golden["imgs"][0], golden["mask"][1])
    order, expected = (np.lexsort(faces.T) for faces in (mesh.faces, golden["mesh_faces"]))
    np.testing.assert_array_equal(mesh.faces[order], golden["mesh_faces"][expected])
    np.testing.assert_allclose(mesh.face_colors[order], golden["mesh_face_colors"][expected])


def test_colmap_model_opens_and_projects_where_it_should(scene: Scene, tmp_path: Path) -> None:
    write_colmap(scene, tmp_path)
    for number, component in enumerate(scene.components()):
        model = pycolmap.Reconstruction(tmp_path / "sparse" / str(number))
        assert model.num_reg_images() == len(component.images)
        assert model.num_points3D() == len(component.tracks)
        assert model.compute_num_observations() == len(component.tracks.track)
        assert model.compute_mean_reprojection_error() < 1e-9
        assert max(point.error for point in model.points3D.values()) < 1e-9
        for image in component.images:
            camera = model.find_image_with_name(image.name).camera
            # COLMAP has the first pixel's centre at 0.5, we at 0
            assert camera.principal_point_x == pytest.approx(image.intrinsics[0, 2] + 0.5)
            assert (camera.height, camera.width) == image.original_shape
    assert sorted(c.color.tolist() for c in model.points3D.values()) == sorted(
        component.tracks.colors.tolist()
    )


def test_colmap_errors_are_those_of_the_tracks(scene: Scene, tmp_path: Path) -> None:
    component = scene.components()[0]
    tracks = component.tracks
    moved = type(tracks)(**{**vars(tracks), "xy": tracks.xy + np.array([0.6, 0.8])})
    write_colmap(Scene(component.images, component.points, moved), tmp_path)
    model = pycolmap.Reconstruction(tmp_path / "sparse" / "0")
    assert model.compute_mean_reprojection_error() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("write", [write_colmap, write_nerfstudio])
def test_cameras_come_back(scene: Scene, tmp_path: Path, write: Callable[[Scene, Path], list[Path]]) -> None:
    write(scene, tmp_path)
    expected = scene.components()[0].cameras()
    found = read_cameras(tmp_path)
    assert found.find(expected.names) == tuple(range(len(expected)))
    assert found.shapes == expected.shapes
    np.testing.assert_allclose(found.intrinsics, expected.intrinsics, atol=1e-9)
    np.testing.assert_allclose(found.cam2world, expected.cam2world, atol=1e-9)


def test_text_models_are_read_too(matched: Any, tmp_path: Path) -> None:
    # COLMAP's text format ends a name at its first blank; the binary one, which we write, does not
    images = tuple(replace(image, name=image.name.replace(" ", "_")) for image in matched.images)
    scene = Scene(images, PointCloud.empty(), Tracks.empty())
    write_colmap(scene, tmp_path)
    (tmp_path / "text").mkdir()
    pycolmap.Reconstruction(tmp_path / "sparse" / "0").write_text(tmp_path / "text")
    np.testing.assert_allclose(
        read_cameras(tmp_path / "text").cam2world, scene.components()[0].cameras().cam2world, atol=1e-9
    )


def test_nerfstudio_looks_along_minus_z(scene: Scene, tmp_path: Path) -> None:
    write_nerfstudio(scene, tmp_path)
    document = json.loads((tmp_path / "transforms.json").read_text())
    pose = np.array(document["frames"][1]["transform_matrix"])
    expected = scene.images[1].cam2world
    np.testing.assert_allclose(-pose[:3, 2], expected[:3, 2])
    np.testing.assert_allclose(-pose[:3, 1], expected[:3, 1])
    np.testing.assert_allclose(pose[:3, 3], expected[:3, 3])
    assert document["frames"][1]["cx"] == scene.images[1].intrinsics[0, 2] + 0.5
    assert (tmp_path / document["ply_file_path"]).is_file()


def test_blender_files_are_read(tmp_path: Path) -> None:
    frame = {"file_path": "./train/r_0", "transform_matrix": np.eye(4).tolist()}
    document = {"camera_angle_x": np.pi / 2, "w": 200, "h": 100, "frames": [frame]}
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    cameras = read_cameras(tmp_path / "transforms.json")
    np.testing.assert_allclose(cameras.intrinsics[0], [[100, 0, 99.5], [0, 100, 49.5], [0, 0, 1]])
    assert cameras.find(["photos/r_0.png", "r_1.png"]) == (0, None)


def test_ply_opens_with_its_colors(scene: Scene, tmp_path: Path) -> None:
    write_ply(scene, tmp_path)
    cloud = trimesh.load(tmp_path / "points.ply")
    first = scene.components()[0].points
    np.testing.assert_allclose(cloud.vertices, first.positions)
    np.testing.assert_array_equal(cloud.colors[:, :3], first.colors)


def test_depth_maps_keep_their_numbers(scene: Scene, tmp_path: Path) -> None:
    write_depth_maps(scene, tmp_path)
    image = scene.images[0]
    np.testing.assert_array_equal(
        read_float_tiff(tmp_path / "depth" / "network" / f"{image.name}.tiff"), image.depth
    )
    large = read_float_tiff(tmp_path / "depth" / "original" / f"{image.name}.tiff")
    assert large.shape == image.original_shape
    assert (large[0] == 0).all()  # cut off
    np.testing.assert_allclose(large[9:103:2, 1::2].mean(), image.depth.mean(), rtol=0.01)
    confidence = read_float_tiff(tmp_path / "confidence" / "original" / f"{image.name}.tiff")
    assert set(np.unique(confidence)) == {0.0, 3.0}


def bare(scene: Scene, **look: Any) -> Scene:
    """The scene to be shown without cameras."""
    return replace(scene, appearance=Appearance(**{"cameras": "none", **look}))


def test_glb_of_a_scene_shows_points_in_front_of_the_first_camera(scene: Scene, tmp_path: Path) -> None:
    paths = write_glb(bare(scene), tmp_path)
    assert [path.name for path in paths] == ["scene.glb", "scene_1.glb"]
    (cloud,) = reloaded(paths[0].read_bytes())
    assert len(cloud.vertices) == 3 * 48 * 64
    assert (cloud.vertices[:, 2] > 0).all()
    (few,) = reloaded(write_glb(bare(scene), tmp_path, max_points=1000)[0].read_bytes())
    assert len(few.vertices) == 1000
    (fewer,) = reloaded(write_glb(bare(scene, max_points=500), tmp_path)[0].read_bytes())
    assert len(fewer.vertices) == 500
    (tmp_path / "none").mkdir()
    assert write_glb(bare(scene, min_confidence=99), tmp_path / "none") == []


def test_glb_in_a_frame_has_its_origin_in_the_middle(scene: Scene, tmp_path: Path) -> None:
    far = scene.images[0].depth.copy()
    far[0, 0] = 500  # one wrong point
    made = replace(scene, images=(replace(scene.images[0], depth=far), *scene.images[1:]))
    frame = viewing_frame(made)
    found = reloaded(write_glb(made, tmp_path, frame=frame)[0].read_bytes())
    bounds = np.array([part.bounds for part in found])
    low, high = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
    np.testing.assert_allclose(low, -high, rtol=1e-5)
    (cloud,) = (part for part in found if isinstance(part, trimesh.PointCloud))
    positions = np.concatenate([image.pts3d().reshape(-1, 3) for image in made.images[:3]])
    np.testing.assert_allclose(cloud.vertices, positions @ frame[:3, :3].T + frame[:3, 3], atol=1e-3)
    invisible = [part for part in found if isinstance(part, trimesh.Trimesh) and part.area == 0]
    assert len(invisible) == 1


def test_colours_of_a_glb_can_be_changed_for_a_viewer(scene: Scene, tmp_path: Path) -> None:
    (plain,) = reloaded(write_glb(bare(scene), tmp_path)[0].read_bytes())
    (negative,) = reloaded(write_glb(bare(scene), tmp_path, adjust=lambda color: 255 - color)[0].read_bytes())
    seen = np.concatenate([image.color.reshape(-1, 3) for image in scene.images[:3]])
    order = np.argsort(seen[:, 0], kind="stable")
    assert (np.diff(plain.colors[order, 0].astype(int)) >= 0).all()
    assert (np.diff(negative.colors[order, 0].astype(int)) <= 0).all()


def test_the_report_page_is_an_export_too(scene: Scene, tmp_path: Path) -> None:
    (path,) = scene.export(tmp_path, ["report"])
    assert path.name == "report.html"
    scene.save(tmp_path / "whole", formats=())
    assert path.read_bytes() == (tmp_path / "whole" / "report.html").read_bytes()


def test_glb_holds_linear_light_and_wants_no_lamps(scene: Scene, tmp_path: Path) -> None:
    seen = replace(scene, appearance=Appearance(camera_size=0.3))
    data = write_glb(seen, tmp_path)[0].read_bytes()
    (cloud,) = (found for found in reloaded(data) if isinstance(found, trimesh.PointCloud))
    shades = np.concatenate([image.color.reshape(-1, 3) for image in scene.images[:3]]) / 255
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    assert np.abs(cloud.colors[:, :3] - 255 * linear).max() <= 0.5 + 1e-9
    tree = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    used = {primitive["material"] for mesh in tree["meshes"] for primitive in mesh["primitives"]}
    assert used == set(range(len(tree["materials"])))
    assert all("KHR_materials_unlit" in tree["materials"][number]["extensions"] for number in used)
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"]


def test_cameras_of_a_glb_have_the_size_that_was_asked_for(scene: Scene, tmp_path: Path) -> None:
    def heights(**look: Any) -> list[float]:
        seen = replace(scene, appearance=Appearance(**look))
        found = reloaded(write_glb(seen, tmp_path)[0].read_bytes())
        planes = [part for part in found if len(part.vertices) == 4]
        return [float(np.linalg.norm(plane.vertices[0] - plane.vertices[3])) for plane in planes]

    np.testing.assert_allclose(heights(camera_size=0.3), [0.3, 0.3, 0.3], atol=1e-5)
    assert len(set(np.round(heights(), 5))) == 1
    assert heights(cameras="edges") == []


def test_a_mesh_stays_within_its_number_of_points(scene: Scene, tmp_path: Path) -> None:
    (whole,) = reloaded(write_glb(bare(scene, as_mesh=True), tmp_path)[0].read_bytes())
    assert len(whole.vertices) == 3 * 48 * 64
    assert len(whole.faces) == 3 * 4 * 47 * 63
    (thin,) = reloaded(write_glb(bare(scene, as_mesh=True), tmp_path, max_points=3000)[0].read_bytes())
    assert 1000 < len(thin.vertices) <= 3000
    write_ply(bare(scene, as_mesh=True, max_points=3000), tmp_path)
    assert len(trimesh.load(tmp_path / "mesh.ply", process=False).vertices) == len(thin.vertices)


def test_ply_of_a_mesh_faces_the_cameras(scene: Scene, tmp_path: Path) -> None:
    written = write_ply(replace(scene, appearance=Appearance(as_mesh=True)), tmp_path)
    assert [path.name for path in written] == ["points.ply", "points_1.ply", "mesh.ply", "mesh_1.ply"]
    mesh = trimesh.load(tmp_path / "mesh.ply", process=False)
    assert len(mesh.faces) == 3 * 2 * 47 * 63
    first = scene.images[0]
    of_first = (mesh.faces < first.depth.size).all(1)
    towards = first.cam2world[:3, 3] - mesh.triangles_center[of_first]
    assert (np.sum(mesh.face_normals[of_first] * towards, axis=1) > 0).mean() > 0.99
    colors = np.concatenate([image.color.reshape(-1, 3) for image in scene.images[:3]])
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], colors)


def test_cameras_as_json_say_what_they_mean(scene: Scene, tmp_path: Path) -> None:
    assert [path.name for path in write_camera_list(scene, tmp_path)] == ["cameras.json", "cameras_1.json"]
    document = json.loads((tmp_path / "cameras_1.json").read_text())
    assert set(document["conventions"]) >= {"pixels", "intrinsics", "cam2world"}
    for row, image in zip(document["cameras"], scene.images[3:], strict=True):
        assert (row["name"], row["height"], row["width"]) == (image.name, *image.original_shape)
        np.testing.assert_array_equal(row["intrinsics"], image.intrinsics)
        np.testing.assert_array_equal(row["cam2world"], image.cam2world)


def test_equal_maps_are_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libtiff leaves a byte of old memory between pixels and directory where these end at an odd place."""
    save, poisoned, count = Image.Image.save, list[int](), 0

    def poisoning(self: Image.Image, file: Any, *arguments: Any, **options: Any) -> None:
        save(self, file, *arguments, **options)
        data = bytearray(file.getvalue())
        with Image.open(file) as written:
            ends = [s + c for s, c in zip(written.tag_v2[273], written.tag_v2[279], strict=True)]  # type: ignore[attr-defined]
        if max(ends) < int.from_bytes(data[4:8], "little"):
            poisoned.append(max(ends))
            data[max(ends)] = 0xAB
            file.seek(0)
            file.write(data)

    monkeypatch.setattr(Image.Image, "save", poisoning)
    for side in range(20, 40):
        values = np.random.default_rng(side).random((side, side)).astype(np.float32)
        write_float_tiff(tmp_path / "a.tiff", values)
        np.testing.assert_array_equal(read_float_tiff(tmp_path / "a.tiff"), values)
        while poisoned:
            count += 1
            assert (tmp_path / "a.tiff").read_bytes()[poisoned.pop()] == 0
    assert count > 3
