"""Small scenes for the viewer's tests: a wall 4 m away, seen by cameras side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mast3r_model import ImageTransform
from mast3r_sfm import DroppedImage, PointCloud, Scene, SceneImage, Tracks

SIZE = (30, 40)
PIXELS = SIZE[0] * SIZE[1]


def wall_image(number: int, *, component: int = 0, scale: float = 1.0, name: str | None = None) -> SceneImage:
    """A photo of the wall; its confidence falls from 3 at the left to 1 at the right."""
    K = np.array([[40.0, 0, 19.5], [0, 40.0, 14.5], [0, 0, 1]])
    pose = np.eye(4)
    pose[0, 3] = scale * number
    color = np.zeros((*SIZE, 3), np.uint8)
    color[:, :, number % 3] = 200
    return SceneImage(
        name=name or f"{number}.jpg",
        original_shape=SIZE,
        transform=ImageTransform(SIZE, SIZE, np.eye(3)),
        intrinsics=K,
        cam2world=pose,
        depth=np.full(SIZE, 4.0 * scale),
        confidence=np.broadcast_to(np.linspace(3, 1, SIZE[1]), SIZE),
        color=color,
        component=component,
    )


def wall_scene(count: int = 3, *, scale: float = 1.0, groups: int = 1) -> Scene:
    """So many photos in each group; a track that photos 0 and 1 see, and one that 1 and 2 see."""
    images = tuple(
        wall_image(number, component=group, scale=scale) for group in range(groups) for number in range(count)
    )
    tracks = Tracks(
        positions=np.array([[0.5, 0, 4], [1.5, 0, 4]]) * scale,
        colors=np.full((2, 3), 90, np.uint8),
        track=np.array([0, 0, 1, 1]),
        image=np.array([0, 1, 1, 2]),
        xy=np.zeros((4, 2)),
        reprojection_error=np.zeros(4),
    )
    dropped = (DroppedImage("<img src=x>{1+1}.jpg", "matches no\nother photo"),)
    return Scene(images, PointCloud.empty(), tracks, dropped, report={"min_confidence": 1.5})


def partial_scene() -> Scene:
    """What is known after the coarse alignment: cameras, and points without photos."""
    images = tuple(
        replace(image, depth=np.zeros(SIZE), confidence=np.zeros(SIZE)) for image in wall_scene().images
    )
    points = PointCloud(np.random.default_rng(0).normal(size=(50, 3)), np.zeros((50, 3)), np.ones(50))
    return Scene(images, points, Tracks.empty(), report={"partial": "coarse alignment"})
