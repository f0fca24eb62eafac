"""What the viewer shows: every group of photos in a frame of its own, of the same size for all scenes.

Groups do not relate to each other, so only one is looked at at a time. Its frame is the world's, moved and
scaled so that cameras and points fill a box of `VIEW_SIZE` about the origin: near planes, steps of controls
and float32 then suit scenes in metres, in millimetres and in map coordinates alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from mast3r_sfm.scene import DroppedImage, Scene, SceneImage, Tracks
from mast3r_sfm.view_filters import shown_confidence

VIEW_SIZE = 10.0
"""Diagonal of the box that a group is scaled to."""
SURE_SHARE = 0.8
"""Share of each photo's points, the most certain ones, that say how large a scene is."""
PICTURE_SIDES = ((100, 320), (400, 192))
"""Long side in pixels of pictures in frustums for up to so many photos; `SMALL_SIDE` for more."""
SMALL_SIDE = 96


@dataclass(frozen=True, eq=False)
class PhotoPoints:
    """The dense points of one photo, the most certain first.

    Attributes:
        positions: (n, 3) float32.
        colors: (n, 3) uint8 RGB.
        confidence: (n,) float32, falling.
    """

    positions: Float[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"]
    confidence: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of points."""
        return len(self.confidence)

    @classmethod
    def empty(cls) -> PhotoPoints:
        """No point."""
        return cls(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class ViewedPhoto:
    """A camera with its photo and its points.

    Attributes:
        label: number from 1 and name; no two are alike.
        shape: (height, width) of what the intrinsics are of.
        focal: (horizontal, vertical) in those pixels.
        cam2world: 4x4, a rotation and a place.
        picture: (h, w, 3) uint8, small; None where there is none.
        points: of its pixels.
        gap: distance between neighbouring points; 0 without points.
    """

    label: str
    shape: tuple[int, int]
    focal: tuple[float, float]
    cam2world: Float[np.ndarray, "4 4"]
    picture: UInt8[np.ndarray, "h w 3"] | None
    points: PhotoPoints
    gap: float = 0.0

    @property
    def vertical_angle(self) -> float:
        """Field of view from top to bottom in radians, as if the principal point was in the middle."""
        return float(2 * np.arctan2(self.shape[0] / 2, self.focal[1]))

    @property
    def aspect(self) -> float:
        """Width over height, with pixels made square."""
        return (self.shape[1] / self.focal[0]) / (self.shape[0] / self.focal[1])


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """Tracks: points that several photos see.

    Attributes:
        positions: (t, 3) float32.
        colors: (t, 3) uint8 RGB.
        track: (m,) which point an observation shows.
        photo: (m,) in which photo.
    """

    positions: Float[np.ndarray, "t 3"]
    colors: UInt8[np.ndarray, "t 3"]
    track: Int[np.ndarray, " m"]
    photo: Int[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class ViewedGroup:
    """Photos of one place.

    Attributes:
        label: for people.
        photos: in the scene's order.
        sparse: their tracks.
        up: (3,) where the photos' upper edges point.
    """

    label: str
    photos: tuple[ViewedPhoto, ...]
    sparse: SparsePoints
    up: Float[np.ndarray, " 3"]

    @property
    def gap(self) -> float:
        """Distance between neighbouring points, about; 0 without points."""
        gaps = [photo.gap for photo in self.photos if photo.gap > 0]
        return float(np.median(gaps)) if gaps else 0.0

    @property
    def count(self) -> int:
        """Number of dense points."""
        return sum(len(photo.points) for photo in self.photos)


@dataclass(frozen=True, eq=False)
class ViewedScene:
    """All that there is to look at.

    Attributes:
        groups: the largest first.
        dropped: photos that could not be placed.
        min_confidence: above which the scene itself shows points.
    """

    groups: tuple[ViewedGroup, ...]
    dropped: tuple[DroppedImage, ...] = ()
    min_confidence: float = 0.0


def viewed_scene(scene: Scene) -> ViewedScene:
    """A reconstruction as the viewer shows it: all that has depth and confidence, sure or not."""
    side = picture_side(len(scene.images))
    groups = tuple(
        make_group(part.images[0].component, [_photo(image, side) for image in part.images], _sparse(part))
        for part in scene.components()
        if part.images
    )
    return ViewedScene(groups, scene.dropped, shown_confidence(scene))


def make_group(number: int, photos: Sequence[ViewedPhoto], tracks: Tracks) -> ViewedGroup:
    """Bring photos and tracks of one world into the viewer's frame.

    Args:
        number: of the group.
        photos: in world units, labelled by their names alone.
        tracks: of these photos, in world units.
    """
    centre, scale = _frame(photos, tracks)
    return ViewedGroup(
        label=f"group {number + 1}: {len(photos)} photo{'s' if len(photos) != 1 else ''}",
        photos=tuple(_framed(k, photo, centre, scale) for k, photo in enumerate(photos)),
        sparse=SparsePoints(
            ((tracks.positions - centre) * scale).astype(np.float32),
            tracks.colors,
            tracks.track,
            tracks.image,
        ),
        up=_up(photos),
    )


def picture_side(count: int) -> int:
    """Long side in pixels of the pictures of so many photos."""
    return next((side for limit, side in PICTURE_SIDES if count <= limit), SMALL_SIDE)


def one_line(text: str) -> str:
    """Text with file names in it, which may hold line breaks and worse."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _sparse(scene: Scene) -> Tracks:
    """The tracks of a scene; where depth is still to come, the points of its matches."""
    if len(scene.tracks) or any((image.depth > 0).any() for image in scene.images):
        return scene.tracks
    nobody = np.zeros(0)
    return Tracks(scene.points.positions, scene.points.colors, nobody, nobody, np.zeros((0, 2)), nobody)


def _photo(image: SceneImage, side: int) -> ViewedPhoto:
    """One placed photo, in world units and in the network's pixels."""
    K = image.network_intrinsics
    known = (image.depth > 0) & (image.confidence > 0)
    confidence = image.confidence[known]
    order = np.argsort(-confidence, kind="stable")
    points = PhotoPoints(image.pts3d()[known][order], image.color[known][order], confidence[order])
    height, width = image.depth.shape
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return ViewedPhoto(
        label=image.name,
        shape=(height, width),
        focal=(float(K[0, 0]), float(K[1, 1])),
        cam2world=image.cam2world,
        picture=cv2.resize(image.color, size, interpolation=cv2.INTER_AREA),
        points=points,
        gap=float(np.median(image.depth[known]) / K[0, 0]) if len(points) else 0.0,
    )


def _frame(photos: Sequence[ViewedPhoto], tracks: Tracks) -> tuple[Float[np.ndarray, " 3"], float]:
    """The middle of what is to be seen, and the factor that makes it `VIEW_SIZE` large."""
    corners = [photo.cam2world[:3, 3] for photo in photos]
    sure = [photo.points.positions[: int(SURE_SHARE * len(photo.points)) : 8] for photo in photos]
    points = np.concatenate([*sure, np.zeros((0, 3))])
    if not len(points):
        points = tracks.positions
    points = points[np.isfinite(points).all(1)]
    if len(points):
        corners += list(np.quantile(points, [0.05, 0.95], axis=0))
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    size = float(np.linalg.norm(high - low))
    return (low + high) / 2, VIEW_SIZE / size if size > 0 else 1.0


def _framed(number: int, photo: ViewedPhoto, centre: Float[np.ndarray, " 3"], scale: float) -> ViewedPhoto:
    pose = np.array(photo.cam2world, np.float64)
    pose[:3, 3] = (pose[:3, 3] - centre) * scale
    points = photo.points
    return ViewedPhoto(
        label=f"{number + 1}: {one_line(photo.label)}",
        shape=photo.shape,
        focal=photo.focal,
        cam2world=pose,
        picture=photo.picture,
        points=PhotoPoints(
            ((points.positions - centre) * scale).astype(np.float32), points.colors, points.confidence
        ),
        gap=photo.gap * scale,
    )


def _up(photos: Sequence[ViewedPhoto]) -> Float[np.ndarray, " 3"]:
    """The mean of the photos' upward directions, or the first one's where they cancel each other."""
    directions = np.array([-photo.cam2world[:3, 1] for photo in photos])
    mean = directions.mean(axis=0)
    chosen = mean if np.linalg.norm(mean) > 0.2 else directions[0]
    return chosen / np.linalg.norm(chosen)
