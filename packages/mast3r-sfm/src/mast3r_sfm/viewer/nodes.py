"""The things in the viewer's 3D scene: dense points, tracks, cameras."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from mast3r_sfm.exports.frustums import EDGE_COLORS

from .content import VIEW_SIZE, ViewedGroup
from .framing import quaternion

if TYPE_CHECKING:
    import viser

LEAST_GAP = VIEW_SIZE / 2000
"""Size of points that have no neighbours to go by, and of the smallest ones."""
TRACK_SCALE = 2.5
"""How much larger tracks are drawn than dense points."""
EDGE_PIXELS = 2.0


class SceneNodes:
    """Draws one group.

    Attributes:
        points: the dense points; None before they are drawn.
        tracks: likewise.
        cameras: of the group's photos.
    """

    def __init__(self, server: viser.ViserServer) -> None:
        self._scene = server.scene
        self.points: viser.PointCloudHandle | None = None
        self.tracks: viser.PointCloudHandle | None = None
        self.cameras: list[viser.CameraFrustumHandle] = []

    def draw_points(
        self, positions: Float[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"], size: float
    ) -> None:
        """Replace the dense points."""
        self.points = self._cloud("/points", positions, colors, size, "square")

    def draw_tracks(
        self, positions: Float[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"], size: float
    ) -> None:
        """Replace the tracks."""
        self.tracks = self._cloud("/tracks", positions, colors, TRACK_SCALE * size, "circle")

    def resize_points(self, size: float) -> None:
        """Draw dense points and tracks in another size, in view units."""
        if self.points is not None:
            self.points.point_size = size
        if self.tracks is not None:
            self.tracks.point_size = TRACK_SCALE * size

    def draw_cameras(
        self, group: ViewedGroup, size: float, *, pictures: bool, on_click: Callable[[int, Any], None]
    ) -> None:
        """Replace the cameras.

        Args:
            group: whose cameras.
            size: height of an image plane in view units.
            pictures: whether they carry their photos.
            on_click: is told the photo's number and the client that clicked it.
        """
        for camera in self.cameras:
            camera.remove()
        self.cameras = []
        for number, photo in enumerate(group.photos):
            camera = self._scene.add_camera_frustum(
                f"/cameras/{number}",
                fov=photo.vertical_angle,
                aspect=photo.aspect,
                scale=1.0,
                thickness=EDGE_PIXELS,
                thickness_units="screen",
                color=EDGE_COLORS[number % len(EDGE_COLORS)],
                image=photo.picture if pictures else None,
                format="jpeg",
                variant="wireframe" if pictures and photo.picture is not None else "filled",
                wxyz=quaternion(photo.cam2world[:3, :3]),
                position=photo.cam2world[:3, 3],
                cast_shadow=False,
                receive_shadow=False,
            )
            camera.on_click(_told(on_click, number))
            self.cameras.append(camera)
        self.resize_cameras(size)

    def resize_cameras(self, size: float) -> None:
        """Give image planes another height, in view units."""
        for camera in self.cameras:
            camera.scale = float(size / camera.compute_canonical_frustum_size()[1])

    def show_pictures(self, group: ViewedGroup, shown: bool) -> None:
        """Put photos into the cameras, or take them out."""
        for camera, photo in zip(self.cameras, group.photos, strict=True):
            camera.image = photo.picture if shown else None
            camera.variant = "wireframe" if shown and photo.picture is not None else "filled"

    def _cloud(
        self,
        name: str,
        positions: Float[np.ndarray, "n 3"],
        colors: UInt8[np.ndarray, "n 3"],
        size: float,
        shape: Any,
    ) -> viser.PointCloudHandle:
        return self._scene.add_point_cloud(
            name,
            positions,
            colors,
            point_size=size,
            point_shape=shape,
            point_shading="flat",
            precision="float32",
        )


def _told(on_click: Callable[[int, Any], None], number: int) -> Callable[[Any], None]:
    """A click's callback that knows whose click it is."""

    def clicked(event: Any) -> None:
        on_click(number, event.client)

    return clicked
