"""7-Scenes' depth registered to the colour camera, right and as kapture does it (spec 50 D8, trap 27)."""

from __future__ import annotations

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_visloc.preparing.depth_registration import (
    COLOUR_CAMERA,
    COLOUR_FROM_DEPTH,
    SHAPE,
    read_depth_png,
    register_depth,
    register_depth_legacy,
)
from mast3r_visloc.preparing.placing import RawFile

from .raw_releases import colour_pose, kinect_depth, pixel_rays, pose, save_depth, wall_points


def plain(depth: np.ndarray, *, legacy: bool) -> np.ndarray:
    """The same by a loop over pixels, from the spec's words."""
    fd, fc = ((585.0, 320.0), (525.0, 320.0)) if legacy else ((585.0, 585.0), (525.0, 525.0))
    cx, cy = (240.0, 240.0) if legacy else (320.0, 240.0)
    registered = np.zeros(depth.shape, np.float32)
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            z = depth[v, u]
            if z == 0:
                continue  # legacy lifts these too, to where they land outside: see the test of zeros
            point = np.array([(u - cx) * z / fd[0], (v - cy) * z / fd[1], z])
            x, y, z = COLOUR_FROM_DEPTH[:3, :3] @ point + COLOUR_FROM_DEPTH[:3, 3]
            column, row = round(fc[0] * x / z + cx), round(fc[1] * y / z + cy)
            if 0 <= column < depth.shape[1] and 0 <= row < depth.shape[0]:
                held = registered[row, column]
                if legacy or held == 0 or z < held:
                    registered[row, column] = z
    return registered


@pytest.mark.parametrize("legacy", [False, True])
def test_equals_the_plain_twin(legacy: bool) -> None:
    random = np.random.default_rng(0)
    depth = np.where(random.random(SHAPE) < 0.05, random.uniform(0.5, 4, SHAPE), 0)
    depth[200:215, 300:330] = random.uniform(1, 3, (15, 30))  # near and far side by side: collisions
    registered = (register_depth_legacy if legacy else register_depth)(depth)
    assert (registered > 0).sum() > 8000
    np.testing.assert_array_equal(registered, plain(depth, legacy=legacy))


def test_right_depth_is_the_walls_within_half_a_pixel() -> None:
    depth_pose = pose(3)
    registered = register_depth(kinect_depth_in_metres(depth_pose))
    known = registered > 0
    assert known.mean() > 0.6
    # The wall's depth at the four corners of each pixel bounds what lands in the pixel; half a mm is the PNG's.
    rays = pixel_rays(SHAPE, COLOUR_CAMERA.fx, (COLOUR_CAMERA.cx, COLOUR_CAMERA.cy))
    corners = [
        wall_points(rays + np.array([dx, dy, 0]) / COLOUR_CAMERA.fx, colour_pose(depth_pose))[..., 2]
        for dx in (-0.501, 0.501)
        for dy in (-0.501, 0.501)
    ]
    assert (registered[known] >= np.min(corners, axis=0)[known] - 6e-4).all()
    assert (registered[known] <= np.max(corners, axis=0)[known] + 6e-4).all()


def test_legacy_depth_is_off_as_the_trap_says() -> None:
    """One bright pixel: 8 px too far left, and in y up to 25 px at the borders."""
    for row, column in ((20, 320), (240, 320), (460, 320)):
        depth = np.zeros(SHAPE)
        depth[row, column] = 2.0
        places = []
        for register in (register_depth, register_depth_legacy):
            (found,) = np.argwhere(register(depth))
            places.append(found)
        down, right = places[1] - places[0]
        assert right in (-9, -8, -7)
        assert abs(down - (row - 240) * (1 - 525 / 585)) <= 1.5


def test_the_nearest_surface_wins() -> None:
    depth = np.zeros(SHAPE)
    depth[240, 318:323] = 1.0
    depth[238, 318:323] = 3.0
    both = register_depth(depth)
    near = register_depth(np.where(depth == 1.0, depth, 0))
    assert (near > 0).sum() >= 4
    np.testing.assert_array_equal(both[near > 0], near[near > 0])


def test_zeros_and_no_return_give_nothing(tmp_path) -> None:
    millimetres = np.zeros(SHAPE, np.uint16)
    millimetres[::2] = 65535
    save_depth(tmp_path / "depth.png", millimetres)
    depth = read_depth_png(RawFile(tmp_path / "depth.png"))
    assert not depth.any()
    assert not register_depth(depth).any()
    assert not register_depth_legacy(depth).any()


def test_what_is_no_depth_map_is_refused(tmp_path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty\.png"):
        read_depth_png(RawFile(tmp_path / "empty.png"))
    save_depth(tmp_path / "small.png", np.zeros((4, 6), np.uint16))
    with pytest.raises(InputError, match=r"640x480.*\(4, 6\)"):
        read_depth_png(RawFile(tmp_path / "small.png"))


def kinect_depth_in_metres(depth_pose: np.ndarray) -> np.ndarray:
    millimetres = kinect_depth(depth_pose)
    return np.where(millimetres == 65535, 0, millimetres) / 1000.0
