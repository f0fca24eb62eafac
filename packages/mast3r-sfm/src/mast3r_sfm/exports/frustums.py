"""Cameras as things to look at: wireframes and pictures on their image planes (spec 30 section 12.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8
from PIL import Image

EDGE_COLORS = (
    (255, 0, 0),
    (0, 0, 255),
    (0, 255, 0),
    (255, 0, 255),
    (255, 204, 0),
    (0, 204, 204),
    (128, 255, 255),
    (255, 128, 255),
    (255, 255, 128),
    (0, 0, 0),
    (128, 128, 128),
)
"""Of the first camera, the second, ...; then again from the start."""

WALL = 0.95
"""How much smaller the inner copy of the pyramid is."""
TWIST = np.deg2rad(2.0)
"""How far the third copy is turned about the optical axis."""
PICTURE_SIDE = 320
"""Longest side in pixels of the photo on an image plane: it is looked at from afar, and there may be many."""
CORNERS = np.array([[1, -1], [-1, -1], [-1, 1], [1, 1]], np.float64)
"""Of the image plane as (right, down), in half sides."""


@dataclass(frozen=True, eq=False)
class FrustumShape:
    """A camera drawn as a pyramid.

    Attributes:
        half_width: of the image plane, in world units.
        half_height: likewise.
        depth: distance of the image plane from the camera's centre.
    """

    half_width: float
    half_height: float
    depth: float

    @classmethod
    def of_camera(cls, shape: tuple[int, int], focal: float, size: float) -> FrustumShape:
        """The pyramid of a camera whose image plane is ``size`` high.

        Args:
            shape: (height, width) of the image.
            focal: in pixels of that image.
            size: in world units.
        """
        height, width = shape
        return cls(width / height * size / 2, size / 2, max(size / 10, focal * size / height))

    def corners(self) -> Float[np.ndarray, "4 3"]:
        """Corners of the image plane in the camera's frame, in the order of `CORNERS`."""
        return self._plane(CORNERS)

    def _plane(self, unit: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
        scaled = unit * [self.half_width, self.half_height]
        return np.concatenate([scaled, np.full((len(unit), 1), self.depth)], axis=1)

    def wireframe(self) -> tuple[Float[np.ndarray, "14 3"], Int[np.ndarray, "48 3"]]:
        """Vertices in the camera's frame, and faces: thin walls along the pyramid's edges.

        They lie between the pyramid, a copy of it shrunk towards the image plane's centre, and one turned
        about the axis; every face comes in both orientations, so that viewers that cull show it.
        """
        cosine, sine = np.cos(TWIST), np.sin(TWIST)
        turned = CORNERS @ np.array([[cosine, -sine], [sine, cosine]])
        vertices = np.concatenate(
            [
                np.zeros((1, 3)),
                [[0, 0, (1 - WALL) * self.depth]],
                self.corners(),
                self._plane(WALL * CORNERS),
                self._plane(turned),
            ]
        )
        apex, inner_apex, outer, inner, twisted = 0, 1, 2, 6, 10
        faces = []
        for here in range(4):
            there = (here + 1) % 4
            for copy, copied_apex in ((inner, inner_apex), (twisted, apex)):
                faces += [
                    (outer + here, outer + there, copy + there),
                    (outer + here, copy + here, apex),
                    (copied_apex, outer + there, apex),
                ]
        both_sides = np.array(faces + [face[::-1] for face in faces], np.int64)
        return vertices, both_sides


def camera_wireframe(
    shape: FrustumShape, cam2world: Float[np.ndarray, "4 4"], color: tuple[int, int, int]
) -> trimesh.Trimesh:
    """The camera's edges in one colour, in the world."""
    vertices, faces = shape.wireframe()
    colors = np.tile(np.array([*color, 255], np.uint8), (len(faces), 1))
    return trimesh.Trimesh(_moved(vertices, cam2world), faces, face_colors=colors, process=False)


def camera_picture(
    shape: FrustumShape, cam2world: Float[np.ndarray, "4 4"], photo: UInt8[np.ndarray, "h w 3"]
) -> trimesh.Trimesh:
    """The camera's image plane with the photo on it, visible from both sides, in the world."""
    vertices = shape.corners()[[2, 3, 0, 1]]  # bottom left, bottom right, top right, top left
    faces = np.array([[0, 1, 2], [0, 2, 3], [2, 1, 0], [3, 2, 0]])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
    picture = Image.fromarray(photo)
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    picture.format = "JPEG"  # how trimesh then writes it: an eighth of a PNG
    material = trimesh.visual.material.PBRMaterial(  # type: ignore[no-untyped-call]
        baseColorTexture=picture, baseColorFactor=[1.0, 1.0, 1.0, 1.0], roughnessFactor=1.0
    )
    visual = trimesh.visual.TextureVisuals(  # type: ignore[no-untyped-call]
        uv=corners, material=material
    )
    return trimesh.Trimesh(_moved(vertices, cam2world), faces, visual=visual, process=False)


def _moved(points: Float[np.ndarray, "n 3"], pose: Float[np.ndarray, "4 4"]) -> np.ndarray:
    return points @ pose[:3, :3].T + pose[:3, 3]
