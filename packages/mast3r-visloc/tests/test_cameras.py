"""Cameras: what they see, resized and turned (spec 50 D4, D5)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera, normalized, project, scaled, turned, unproject

from .pnp_cases import MODELS, camera_of

PIXELS = st.tuples(st.floats(-0.5, 639.5), st.floats(-0.5, 479.5))


@given(st.sampled_from(list(MODELS)), st.floats(-1, 1), st.lists(PIXELS, min_size=1, max_size=8))
def test_round_trip(model: str, strength: float, pixels: list[tuple[float, float]]) -> None:
    """Distortion of either sign and any moderate strength; FOV and EUCM know one sign only."""
    camera = camera_of(model)
    focals = len(camera.focal_lengths)
    strength = strength if model not in ("FOV", "EUCM") else (1.5 + strength) / 2.5
    distortion = [strength * value for value in camera.params[focals + 2 :]]
    camera = Camera(model, 640, 480, (*camera.params[: focals + 2], *distortion))
    points = np.array(pixels)
    rays = unproject(camera, points)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1)
    np.testing.assert_allclose(project(camera, 3 * rays), points, atol=1e-6)
    flat = normalized(camera, points)
    np.testing.assert_allclose(flat, rays[:, :2] / rays[:, 2:])


def test_pixel_centres() -> None:
    camera = Camera.from_intrinsics(np.array([[500, 0, 320], [0, 400, 240], [0, 0, 1.0]]), (480, 640))
    np.testing.assert_allclose(project(camera, np.array([[0, 0, 2.0], [2, 2, 2]])), [[320, 240], [820, 640]])
    np.testing.assert_allclose(unproject(camera, np.array([[320.0, 240.0]])), [[0, 0, 1]])


def test_what_is_not_seen_is_nan() -> None:
    camera = camera_of("SIMPLE_FISHEYE")
    points = np.array([[0, 0, -1.0], [0, 0, 0], [np.nan, 0, 1], [0, 0, np.inf], [0, 0, 1]])
    np.testing.assert_array_equal(np.isnan(project(camera, points)).all(1), [1, 1, 1, 1, 0])
    far = np.array([[320.5 + 350 * np.pi * 0.51, 238.5], [np.nan, 0], [320.5, 238.5]])
    np.testing.assert_array_equal(np.isnan(normalized(camera, far)).all(1), [1, 1, 0])
    for function, width in ((project, 3), (unproject, 2), (normalized, 2)):
        assert len(function(camera, np.zeros((0, width)))) == 0


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("turns", [-1, 1, 2, 3, 4])
def test_turned(model: str, turns: int) -> None:
    camera = camera_of(model)
    pixels = np.random.default_rng(0).uniform([0, 0], [639, 479], (20, 2))
    points = unproject(camera, pixels)
    other = turned(camera, turns)
    width = camera.width
    for _ in range(turns % 4):
        pixels = np.stack([pixels[:, 1], width - 1 - pixels[:, 0]], 1)
        points = points[:, [1, 0, 2]] * [1, -1, 1]
        width = camera.width if width == camera.height else camera.height
    np.testing.assert_allclose(project(other, points), pixels, atol=1e-6)


def test_turned_as_arrays_are() -> None:
    photo = np.zeros((480, 640))
    photo[100, 30] = 1
    camera = Camera("SIMPLE_PINHOLE", 640, 480, (500, 30.5, 100.5))  # sees (0, 0, 1) at that pixel
    row, column = np.argwhere(np.rot90(photo))[0]
    other = turned(camera, 1)
    assert other.shape == np.rot90(photo).shape
    np.testing.assert_allclose(project(other, np.array([[0, 0, 1.0]])), [[column, row]])


@pytest.mark.parametrize("model", list(MODELS))
def test_scaled(model: str) -> None:
    camera = camera_of(model)
    pixels = np.random.default_rng(0).uniform([0, 0], [639, 479], (20, 2))
    half = scaled(camera, (320, 240))
    assert half.shape == (240, 320)
    np.testing.assert_allclose(project(half, unproject(camera, pixels)), (pixels + 0.5) / 2 - 0.5, atol=1e-6)


def test_refused() -> None:
    with pytest.raises(InputError, match="0x240"):
        scaled(camera_of("PINHOLE"), (0, 240))
    with pytest.raises(InputError, match="no focal length"):
        Camera("EQUIRECTANGULAR", 640, 320, (640, 320))
    with pytest.raises(InputError, match="unknown camera model"):
        Camera("HOLGA", 640, 480, (500, 320, 240))
    with pytest.raises(InputError, match="must be positive"):
        Camera("SIMPLE_PINHOLE", 640, 480, (-500, 320, 240))
