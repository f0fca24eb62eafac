"""Cameras seen from above, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mast3r_model.pages import text
from mast3r_sfm.quantities import compact
from mast3r_sfm.scene import Scene, SceneImage

from .loss_curves import round_step

WIDTH, HEIGHT = 720, 480
MARGIN = 24
MAX_DOTS = 4000
NUMBERED = 60
LEVEL = 0.5
"""Length of the mean of the cameras' downward axes from which on it says where down is."""
MAX_ZOOM_OUT = 8.0
"""Points beyond this many times the extent of the cameras are cut off."""


@dataclass(frozen=True)
class Ground:
    """A plane to draw on, seen from above.

    Attributes:
        axes: (2, 3) unit vectors in the world: to the right on the page, and up on the page.
        by_cameras: the plane is level by the cameras' own upright axes; else it is that of their centres.
    """

    axes: Float[np.ndarray, "2 3"]
    by_cameras: bool

    def project(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
        """Plane coordinates in world units."""
        return points @ self.axes.T


@dataclass(frozen=True)
class _Frame:
    """What of the plane is shown: ``low`` and the pixels of a world unit."""

    low: Float[np.ndarray, " xy"]
    scale: float
    height: float

    def pixels(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels of the drawing, y down."""
        x, y = ((points - self.low) * self.scale + MARGIN).T
        return np.stack([x, self.height - y], axis=-1)


def top_view(scene: Scene, numbers: Sequence[int]) -> str:
    """Positions and views of the cameras of one group, with the points of its tracks as dots.

    Args:
        scene: of one group, see `Scene.components`.
        numbers: of its images in the whole scene.
    """
    poses = np.array([image.cam2world for image in scene.images])
    if not len(poses) or not np.isfinite(poses).all():
        return ""
    ground = ground_of(poses)
    centres = ground.project(poses[:, :3, 3])
    points = ground.project(scene.tracks.positions[np.isfinite(scene.tracks.positions).all(1)])
    low, high = _extent(centres, points)
    size = np.maximum(high - low, 1e-9)
    scale = float(min((WIDTH - 2 * MARGIN) / size[0], (HEIGHT - 2 * MARGIN) / size[1]))
    height = max(size[1] * scale + 2 * MARGIN, 160.0)
    frame = _Frame(low - np.array([(WIDTH - 2 * MARGIN) / scale - size[0], 0]) / 2, scale, height)
    length = max(26 / max(1.0, len(poses) / 60) ** 0.5, 7) / scale
    labelled = len(scene.images) <= NUMBERED
    cameras = "".join(
        _camera(image, number, ground, frame, length, labelled=labelled)
        for image, number in zip(scene.images, numbers, strict=True)
    )
    return (
        f'<svg class="above" viewBox="0 0 {WIDTH} {height:.0f}" role="img"><title>cameras from above</title>'
        f"{_dots(frame.pixels(points), height)}{cameras}{_scale_bar(scale, height)}</svg>"
    )


def ground_of(cam2world: Float[np.ndarray, "n 4 4"]) -> Ground:
    """The plane on which cameras are drawn.

    Down is the mean of the cameras' downward axes where photos were held upright; where these point in all
    directions, it is normal to the plane of the centres. The mean view is up on the page.
    """
    mean_down = cam2world[:, :3, 1].mean(0)
    by_cameras = bool(np.linalg.norm(mean_down) > LEVEL)
    if by_cameras:
        down = mean_down / np.linalg.norm(mean_down)
    else:
        centres = cam2world[:, :3, 3]
        down = np.linalg.svd(centres - centres.mean(0))[2][2]
        down = -down if down @ cam2world[:, :3, 2].mean(0) < 0 else down
    level = np.eye(3) - np.outer(down, down)
    candidates = [level @ cam2world[:, :3, 2].mean(0), level @ cam2world[0, :3, 2], level @ [0, 0, 1]]
    candidates.append(level @ [1, 0, 0])
    forward = next(vector for vector in candidates if np.linalg.norm(vector) > 0.1)
    forward /= np.linalg.norm(forward)
    return Ground(np.stack([np.cross(down, forward), forward]), by_cameras)


def _extent(
    centres: Float[np.ndarray, "n 2"], points: Float[np.ndarray, "m 2"]
) -> tuple[Float[np.ndarray, " xy"], Float[np.ndarray, " xy"]]:
    """All cameras and nearly all points, but never so much that the cameras shrink to a dot."""
    low, high = centres.min(0), centres.max(0)
    if len(points):
        middle, reach = (low + high) / 2, MAX_ZOOM_OUT / 2 * (float((high - low).max()) or np.inf)
        low = np.minimum(low, np.maximum(np.quantile(points, 0.02, axis=0), middle - reach))
        high = np.maximum(high, np.minimum(np.quantile(points, 0.98, axis=0), middle + reach))
    air = 0.03 * float((high - low).max()) or 1.0
    return low - air, high + air


def _camera(
    image: SceneImage, number: int, ground: Ground, frame: _Frame, length: float, *, labelled: bool
) -> str:
    height, width = image.original_shape
    corners = np.array([[-0.5, height / 2, 1], [width - 0.5, height / 2, 1]])
    rays = np.linalg.solve(image.intrinsics, corners.T).T
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True) * length
    centre = image.cam2world[:3, 3]
    (x, y), left, right = frame.pixels(
        ground.project(np.stack([centre, *(centre + rays @ image.cam2world[:3, :3].T)]))
    )
    shape = f"{x:.1f},{y:.1f} {left[0]:.1f},{left[1]:.1f} {right[0]:.1f},{right[1]:.1f}"
    label = f'<text class="middle" x="{x:.1f}" y="{y + 12:.1f}">{number}</text>' if labelled else ""
    return (
        f'<g class="camera"><title>{number}: {text(image.name)}</title><polygon points="{shape}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>{label}</g>'
    )


def _dots(points: Float[np.ndarray, "m 2"], height: float) -> str:
    inside = points[((points >= 0) & (points <= [WIDTH, height])).all(1)]
    every = -(-len(inside) // MAX_DOTS) or 1
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in inside[::every])
    return f'<path class="points" d="{path}"/>' if path else ""


def _scale_bar(scale: float, height: float) -> str:
    length = round_step(140 / scale)
    x, y = 12, height - 12
    return (
        f'<path class="bar" d="M{x} {y - 4:.1f}v4h{length * scale:.1f}v-4"/>'
        f'<text x="{x + length * scale + 6:.1f}" y="{y:.1f}">{compact(length)}</text>'
    )
