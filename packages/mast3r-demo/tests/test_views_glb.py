"""The file of the 3D view: which points it has, in which colours, and where the camera stands."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from mast3r_demo.limits import Limits
from mast3r_demo.views import (
    ViewSettings,
    first_camera,
    shown_scene,
    shown_threshold,
    view_note,
    write_scene_glb,
    write_view_glb,
)
from mast3r_demo.views.first_camera import FIELD_OF_VIEW
from mast3r_demo.views.viewer_colours import for_model3d
from mast3r_model import InputError, NothingFoundError
from mast3r_sfm import PointCloud, Scene, Tracks

from .small_scene import small_result, small_scene

PIXELS = 48 * 64
EVERYTHING = ViewSettings(percentile=0, clean_depth=False)


def parts_of(path: Path) -> list[Any]:
    """What a GLB draws, where it is drawn."""
    loaded = trimesh.load(path, file_type="glb")
    found = []
    for name in loaded.graph.nodes_geometry:
        transform, geometry = loaded.graph[name]
        found.append(loaded.geometry[geometry].copy())
        found[-1].apply_transform(transform)
    return found


def cloud_of(path: Path) -> trimesh.PointCloud:
    (cloud,) = (part for part in parts_of(path) if isinstance(part, trimesh.PointCloud))
    return cloud


def written(tmp_path: Path, scene: Scene, view: ViewSettings, limits: Limits | None = None) -> Path:
    path = tmp_path / "view.glb"
    write_scene_glb(scene, view, path, limits or Limits())
    return path


def test_a_percentile_and_a_limit_choose_the_points(tmp_path: Path) -> None:
    scene = small_scene()
    assert len(cloud_of(written(tmp_path, scene, EVERYTHING)).vertices) == 3 * PIXELS
    half = cloud_of(written(tmp_path, scene, replace(EVERYTHING, percentile=50)))
    assert len(half.vertices) == pytest.approx(1.5 * PIXELS, rel=0.05)
    few = cloud_of(written(tmp_path, scene, replace(EVERYTHING, max_points=900)))
    assert len(few.vertices) == 900
    sure = replace(EVERYTHING, min_confidence=2.5)
    assert shown_threshold(scene, sure) == 2.5
    expected = sum(int((image.confidence > 2.5).sum()) for image in scene.images)
    assert len(cloud_of(written(tmp_path, scene, sure)).vertices) == expected


def test_one_photo_s_points_are_shown_with_all_cameras(tmp_path: Path) -> None:
    path = written(tmp_path, small_scene(), replace(EVERYTHING, only_photo=1))
    assert len(cloud_of(path).vertices) == PIXELS
    planes = [part for part in parts_of(path) if len(part.vertices) == 4]
    assert len(planes) == 3
    with pytest.raises(InputError, match="no photo 4"):
        written(tmp_path, small_scene(), replace(EVERYTHING, only_photo=3))


def test_cameras_can_be_hidden_sized_and_emptied(tmp_path: Path) -> None:
    def parts(**changes: Any) -> tuple[int, list[float]]:
        found = parts_of(written(tmp_path, small_scene(), replace(EVERYTHING, **changes)))
        planes = [part for part in found if len(part.vertices) == 4]
        heights = [float(np.linalg.norm(plane.vertices[0] - plane.vertices[3])) for plane in planes]
        return len(found), heights

    frame = 1  # an invisible triangle
    assert parts(cameras=False) == (1 + frame, [])
    count, heights = parts(camera_size=0.3)
    assert count == 1 + 6 + frame
    np.testing.assert_allclose(heights, 0.3, atol=1e-5)
    assert parts(photos_in_cameras=False) == (1 + 3 + frame, [])


def test_a_mesh_has_triangles(tmp_path: Path) -> None:
    found = parts_of(written(tmp_path, small_scene(), replace(EVERYTHING, as_mesh=True, cameras=False)))
    assert not [part for part in found if isinstance(part, trimesh.PointCloud)]
    assert max(len(part.faces) for part in found) == 3 * 4 * 47 * 63


def test_backgrounds_are_hidden(tmp_path: Path) -> None:
    scene = small_scene(2)
    color = scene.images[0].color.copy()
    color[:, :32] = 255
    made = replace(scene, images=(replace(scene.images[0], color=color), scene.images[1]))
    white = cloud_of(written(tmp_path, made, replace(EVERYTHING, drop_white=True)))
    assert len(white.vertices) == 2 * PIXELS - 48 * 32
    black = cloud_of(written(tmp_path, made, replace(EVERYTHING, drop_black=True)))
    assert len(black.vertices) == 2 * PIXELS


def test_cleaning_can_be_switched_and_the_scene_stays(tmp_path: Path) -> None:
    scene = small_scene()
    near = scene.images[0].depth.copy()
    near[20:28, 30:50] = 1.0  # in front of what the others see
    unsure = np.full(near.shape, 1.6)
    made = replace(scene, images=(replace(scene.images[0], depth=near, confidence=unsure), *scene.images[1:]))
    dirty = len(shown_scene(made, EVERYTHING).points)
    clean = len(shown_scene(made, replace(EVERYTHING, clean_depth=True)).points)
    assert dirty == 3 * PIXELS
    assert dirty - 160 <= clean < dirty - 50
    assert len(shown_scene(made, EVERYTHING).points) == dirty
    assert (made.images[0].confidence == unsure.astype(np.float32)).all()


def test_a_group_of_its_own_is_shown_when_its_photo_is_chosen(tmp_path: Path) -> None:
    scene = small_scene(2, alone=1)
    assert len(cloud_of(written(tmp_path, scene, EVERYTHING)).vertices) == 2 * PIXELS
    assert len(cloud_of(written(tmp_path, scene, replace(EVERYTHING, only_photo=2))).vertices) == PIXELS
    assert "No match connects 1 of the photos" in view_note(shown_scene(scene, EVERYTHING))
    assert "No match" not in view_note(shown_scene(small_scene(), EVERYTHING))


def test_a_file_that_would_be_too_large_gets_fewer_points(tmp_path: Path) -> None:
    path = written(tmp_path, small_scene(), EVERYTHING)
    limit = path.stat().st_size // 2
    path = written(tmp_path, small_scene(), EVERYTHING, Limits(max_glb_bytes=limit))
    assert path.stat().st_size <= limit
    assert len(cloud_of(path).vertices) > 1000
    with pytest.raises(InputError, match="MB"):
        written(tmp_path, small_scene(), EVERYTHING, Limits(max_glb_bytes=5000))
    assert path.stat().st_size <= limit  # the last good one is still there


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(NothingFoundError):
        written(tmp_path, small_scene(), replace(EVERYTHING, min_confidence=99, cameras=False))
    with pytest.raises(NothingFoundError):
        written(tmp_path, Scene((), PointCloud.empty(), Tracks.empty()), EVERYTHING)
    assert list(tmp_path.iterdir()) == []


def test_no_metadata_of_the_photos_is_in_the_file(tmp_path: Path) -> None:
    result = small_result(tmp_path / "photos")
    path = tmp_path / "view.glb"
    write_view_glb(result, EVERYTHING, path, Limits())
    data = path.read_bytes()
    assert b"Exif" not in data
    assert b"A camera of someone" not in data
    tree = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"]


def neutral(color: np.ndarray) -> np.ndarray:
    """The viewer's tone curve, from sRGB levels to sRGB levels, with the file's eight bits of linear light."""
    level = color / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    linear = np.round(linear * 255) / 255
    smallest = linear.min(-1, keepdims=True)
    linear = linear - np.where(smallest < 0.08, smallest - 6.25 * smallest**2, 0.04)
    peak = linear.max(-1, keepdims=True)
    squeezed = 1 - 0.24**2 / (peak + 0.24 - 0.76)
    linear = np.where(peak < 0.76, linear, linear * squeezed / peak)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_colours_come_out_of_the_viewer_as_they_were(tmp_path: Path) -> None:
    levels = np.array([40, 80, 120, 160, 200, 220])
    color = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3).astype(np.uint8)
    assert np.abs(neutral(for_model3d(color)) - color).max() < 7
    assert np.abs(neutral(color.astype(float)) - color).max() > 20  # what it is for
    scene = small_scene(2)
    cloud = cloud_of(written(tmp_path, scene, EVERYTHING))
    meant = np.concatenate([image.color.reshape(-1, 3) for image in scene.images]).astype(float)
    linear = cloud.colors[:, :3] / 255
    encoded = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(neutral(encoded) - meant).mean() < 3


def seen_from(position: tuple[float, float, float], points: np.ndarray, aspect: float) -> np.ndarray:
    """Where points are in the view of Babylon's camera about the origin, (-1, -1) to (1, 1)."""
    alpha, beta, radius = math.radians(position[0]), math.radians(position[1]), position[2]
    back = np.array([math.cos(alpha) * math.sin(beta), math.cos(beta), math.sin(alpha) * math.sin(beta)])
    right = np.cross([0, 1, 0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    depth = radius - points @ back
    slope = math.tan(FIELD_OF_VIEW / 2)
    return np.stack([points @ right / (depth * slope * aspect), points @ up / (depth * slope)], axis=1)


@pytest.mark.parametrize("aspect", [0.6, 1.4, 2.5])
def test_the_first_camera_sees_the_middle_of_the_points(tmp_path: Path, aspect: float) -> None:
    scene = small_scene()
    position = first_camera(scene, EVERYTHING, aspect=aspect)
    path = written(tmp_path, scene, EVERYTHING)
    points = np.asarray(cloud_of(path).vertices)
    low, high = np.quantile(points, [0.05, 0.95], axis=0)
    middle = points[((points >= low) & (points <= high)).all(axis=1)]
    seen = seen_from(position, middle, aspect)
    assert 0.8 < np.abs(seen).max() <= 1.0
    # viewers turn about the middle of the file's bounds: the origin
    bounds = trimesh.load(path, file_type="glb").bounds
    np.testing.assert_allclose(bounds[0], -bounds[1], rtol=1e-4)


def test_the_first_view_is_as_the_photos_are(tmp_path: Path) -> None:
    scene = small_scene(1)
    position = first_camera(scene, EVERYTHING)
    cloud = cloud_of(written(tmp_path, scene, EVERYTHING))
    seen = seen_from(position, np.asarray(cloud.vertices), 1.4).reshape(48, 64, 2)
    assert (np.diff(seen[..., 0], axis=1) > 0).all()  # right is right
    assert (np.diff(seen[..., 1], axis=0) < 0).all()  # down is down


def test_the_first_camera_stands_somewhere_without_points() -> None:
    alpha, beta, radius = first_camera(small_scene(), replace(EVERYTHING, min_confidence=99))
    assert math.isfinite(alpha + beta)
    assert radius > 0
