"""Correspondences with a known pose: the recorded ones, and synthetic ones for any camera."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from mast3r_visloc.cameras import Camera, project, unproject

GOLDENS = Path(__file__).resolve().parent / "goldens" / "visloc"

MODELS: Mapping[str, tuple[float, ...]] = {
    "SIMPLE_PINHOLE": (500, 321, 239),
    "PINHOLE": (500, 520, 321, 239),
    "SIMPLE_RADIAL": (500, 321, 239, -0.08),
    "RADIAL": (500, 321, 239, -0.08, 0.02),
    "OPENCV": (500, 520, 321, 239, -0.08, 0.02, 0.002, -0.003),
    "FULL_OPENCV": (500, 520, 321, 239, -0.08, 0.02, 0.002, -0.003, 0.001, 0.01, -0.004, 0.002),
    "SIMPLE_FISHEYE": (350, 321, 239),
    "FISHEYE": (350, 370, 321, 239),
    "SIMPLE_RADIAL_FISHEYE": (350, 321, 239, 0.03),
    "RADIAL_FISHEYE": (350, 321, 239, 0.03, -0.01),
    "OPENCV_FISHEYE": (350, 370, 321, 239, 0.03, -0.01, 0.004, -0.001),
    "THIN_PRISM_FISHEYE": (350, 370, 321, 239, 0.03, -0.01, 0.002, -0.003, 0.001, 0.0005, 0.002, -0.001),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        *(350, 370, 321, 239),
        *(0.03, -0.01, 0.004, -0.001, 0.0005, 0.0001, 0.002, -0.003, 0.001, 0.002, -0.001, 0.0005),
    ),
    "FOV": (420, 430, 321, 239, 0.8),
    "EUCM": (400, 420, 321, 239, 0.5, 1.1),
    "SIMPLE_DIVISION": (500, 321, 239, -0.1),
    "DIVISION": (500, 520, 321, 239, -0.1),
}
"""Every model of COLMAP that has a focal length, at 640x480."""


def camera_of(model: str) -> Camera:
    """A moderate camera of a model."""
    return Camera(model, 640, 480, MODELS[model])


@dataclass(frozen=True, eq=False)
class Case:
    """Correspondences and the pose that they come from.

    Attributes:
        points2d: (n, 2) pixels, an integer being a pixel's centre.
        points3d: (n, 3) in the world's frame.
        outlier: (n,) which are wrong.
        cam2world: the truth.
        camera: of the photo.
    """

    points2d: np.ndarray
    points3d: np.ndarray
    outlier: np.ndarray
    cam2world: np.ndarray
    camera: Camera


def synthetic_case(
    camera: Camera, number: int = 300, *, outliers: float = 0.0, noise: float = 0.0, seed: int = 0
) -> Case:
    """Points all over a camera's image, 2 to 8 m away; outliers anywhere in the image, noise in pixels."""
    random = np.random.default_rng(seed)
    size = np.array([camera.width, camera.height])
    pixels = random.uniform(-0.5, size - 0.5, (number, 2))
    rays = unproject(camera, pixels)
    in_view = rays[:, 2] > 0.05
    in_camera = rays[in_view] * random.uniform(2, 8, (int(in_view.sum()), 1))
    cam2world = np.eye(4)
    cam2world[:3, :3] = Rotation.from_rotvec(random.normal(size=3)).as_matrix()
    cam2world[:3, 3] = random.normal(size=3) * 5
    points2d = project(camera, in_camera) + random.normal(0, noise, in_camera[:, :2].shape)
    outlier = random.uniform(size=len(points2d)) < outliers
    points2d[outlier] = random.uniform(-0.5, size - 0.5, (int(outlier.sum()), 2))
    return Case(points2d, in_camera @ cam2world[:3, :3].T + cam2world[:3, 3], outlier, cam2world, camera)


def golden_settings() -> dict[str, dict[str, Any]]:
    """What the README tells of each recorded case, by name."""
    cases: dict[str, dict[str, Any]] = json.loads((GOLDENS / "pnp.json").read_text())["cases"]
    return cases


def golden_arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of a recorded case."""
    with np.load(GOLDENS / "pnp.npz", allow_pickle=False) as stored:
        return {
            key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")
        }


def pose_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Between two camera-to-world poses: metres between the centres, and degrees."""
    chord = np.linalg.norm(a[:3, :3] - b[:3, :3]) / (2 * np.sqrt(2))
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.degrees(2 * np.arcsin(min(chord, 1.0))))
