"""Where the 3D view's camera stands at first (spec 60 D2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mast3r_sfm import viewing_frame

from .scene_glb import group_of_view
from .shown import ViewSettings, shown_scene

if TYPE_CHECKING:
    from jaxtyping import Float

    from mast3r_sfm import Scene

FIELD_OF_VIEW = 0.8
"""Radians from top to bottom: what Babylon's viewer, the one in gradio's Model3D, has."""
LONGITUDE, LATITUDE = 90.0, 78.0
"""Behind the photographers (+z of `viewing_frame`), and 12 degrees above them."""
MARGIN = 1.05
NEAREST = 0.1
"""gradio's viewer lets nobody nearer than this."""


def first_camera(
    scene: Scene, view: ViewSettings | None = None, *, aspect: float = 1.4
) -> tuple[float, float, float]:
    """What gradio's ``Model3D(camera_position=...)`` wants, for the file of `write_view_glb`.

    The box that holds 5 to 95 % of the points along each axis just fills the view.

    Args:
        scene: whole.
        view: the controls; None: as they are at first.
        aspect: width of the 3D view through its height.

    Returns:
        alpha and beta in degrees, and the radius in world units, as Babylon's ArcRotateCamera has them: the
        camera stands at radius * (cos alpha sin beta, cos beta, sin alpha sin beta).

    Raises:
        NothingFoundError: the scene has no photo.
    """
    view = view or ViewSettings()
    frame = viewing_frame(group_of_view(scene, view))
    shown = group_of_view(shown_scene(scene, view), view)
    points = shown.points.positions.astype(np.float64)
    if not len(points):
        points = np.array([image.cam2world[:3, 3] for image in shown.images])
    points = points @ frame[:3, :3].T + frame[:3, 3]
    low, high = np.quantile(points[:: max(1, len(points) // 200_000)], [0.05, 0.95], axis=0)
    corners = np.array(
        [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )
    return LONGITUDE, LATITUDE, max(NEAREST, MARGIN * _distance(corners, aspect))


def _distance(corners: Float[np.ndarray, "8 3"], aspect: float) -> float:
    """How far from the origin a camera sees all corners; the centre of the view is the origin."""
    alpha, beta = math.radians(LONGITUDE), math.radians(LATITUDE)
    back = np.array([math.cos(alpha) * math.sin(beta), math.cos(beta), math.sin(alpha) * math.sin(beta)])
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    slope = math.tan(FIELD_OF_VIEW / 2)
    # a corner c at depth (radius - c.back) is seen where |c.up| and |c.right| / aspect are < depth * slope
    needed = corners @ back + np.maximum(np.abs(corners @ up), np.abs(corners @ right) / aspect) / slope
    return float(needed.max())
