"""Poses, queries and photos made up for tests of runs and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_visloc import Camera, Correspondences, Pose, Query

CAMERA = Camera("SIMPLE_RADIAL", 160, 120, (140.0, 80.0, 60.0, 0.01))
CANDIDATES = ("db/1.jpg", "db/2.jpg")


def random_pose(seed: int) -> np.ndarray:
    """A 4x4 cam2world."""
    random = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = random.normal(size=3) * 10
    return pose


def made_matches(count: int = 40, seed: int = 0) -> Correspondences:
    """Two thirds are inliers; most of these are with the second candidate."""
    random = np.random.default_rng(seed)
    return Correspondences(
        query_xy=random.uniform(0, [159, 119], (count, 2)),
        map_image=(np.arange(count) % 4 > 0).astype(np.int64),
        map_xy=random.uniform(0, [159, 119], (count, 2)),
        xyz=random.normal(size=(count, 3)) + np.array([4e5, 5e6, 100.0]),
        confidence=random.uniform(1, 9, count),
        inlier=np.arange(count) % 3 > 0,
    )


def made_pose(name: str, cam2world: np.ndarray | None, *, count: int = 40, seed: int = 0) -> Pose:
    """What localising a photo could have given; None for a failure."""
    matches = made_matches(count, seed)
    return Pose(
        name=name,
        success=cam2world is not None,
        cam2world=cam2world,
        camera=CAMERA,
        camera_source="EXIF",
        num_inliers=int(matches.inlier.sum()) if cam2world is not None else 3,
        candidates=CANDIDATES,
        correspondences=matches,
        method="pnp" if cam2world is not None else None,
        reason=None if cam2world is not None else "few_inliers",
        timings={"network": 0.25, "pnp": 0.125},
    )


def made_query(name: str, folder: Path, truth: np.ndarray | None = None) -> Query:
    """A query whose file is not there unless somebody writes it."""
    return Query(name, folder / f"{name.replace('/', '_')}.jpg", CAMERA, truth)


def write_photo(path: Path, seed: int, size: tuple[int, int] = (160, 120)) -> Path:
    """A photo of coloured blocks of (width, height) `size`."""
    blocks = np.random.default_rng(seed).integers(40, 216, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(path)
    return path
