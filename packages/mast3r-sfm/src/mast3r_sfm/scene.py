"""The result of a reconstruction: cameras, depth, points, tracks and what was left out.

Pixels are (x, y) with an integer at a pixel's centre. "Original" pixels are those of the photo after its EXIF
orientation, "network" pixels those of the network's input; `SceneImage.transform` goes between them. Camera
axes: x right, y down, z forward. World units are the network's metres, up to what the alignment made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mast3r_model import ImageTransform, InputError

from .appearance import Appearance
from .cameras import PosedCameras

DEFAULT_FORMATS = ("colmap", "nerfstudio", "glb", "ply", "depth")

Exporter = Callable[["Scene", Path], list[Path]]
"""Writes a scene into a folder that exists and returns what it wrote."""


@dataclass(frozen=True, eq=False)
class SceneImage:
    """One placed photo. Its per-pixel maps have the network input's size (h, w).

    Attributes:
        name: of the photo's file, relative to `Scene.image_folder`, with forward slashes.
        original_shape: (height, width) of the upright photo.
        transform: between the photo's pixels and the network's.
        intrinsics: 3x3 float64, in ORIGINAL pixels.
        cam2world: 4x4 float64.
        depth: (h, w) float32, camera z of every network pixel, in world units; 0 where unknown.
        confidence: (h, w) float32, larger is better, 0 where depth is not to be used.
        color: (h, w, 3) uint8 RGB of the network input.
        component: number of the group of connected images that this one is in; poses of different groups do
            not relate to each other. 0 is the largest group.
    """

    name: str
    original_shape: tuple[int, int]
    transform: ImageTransform
    intrinsics: Float[np.ndarray, "3 3"]
    cam2world: Float[np.ndarray, "4 4"]
    depth: Float[np.ndarray, "h w"]
    confidence: Float[np.ndarray, "h w"]
    color: UInt8[np.ndarray, "h w 3"]
    component: int = 0

    def __post_init__(self) -> None:
        """Check shapes and fix dtypes.

        Raises:
            InputError: a shape does not fit.
        """
        shape = self.transform.network_shape
        for name, kind, expected in (
            ("intrinsics", np.float64, (3, 3)),
            ("cam2world", np.float64, (4, 4)),
            ("depth", np.float32, shape),
            ("confidence", np.float32, shape),
            ("color", np.uint8, (*shape, 3)),
        ):
            array = np.asarray(getattr(self, name), dtype=kind)
            if array.shape != expected:
                raise InputError(f"{self.name}: expected {name} of shape {expected}, got {array.shape}")
            object.__setattr__(self, name, array)
        object.__setattr__(self, "original_shape", tuple(int(side) for side in self.original_shape))

    @property
    def network_intrinsics(self) -> Float[np.ndarray, "3 3"]:
        """3x3 float64, in network pixels."""
        return self.transform.intrinsics_to_network(self.intrinsics)

    @property
    def world2cam(self) -> Float[np.ndarray, "4 4"]:
        """4x4 float64, the inverse of `cam2world`."""
        return np.linalg.inv(self.cam2world)

    def pts3d(self) -> Float[np.ndarray, "h w 3"]:
        """Every network pixel's point in the world, float32."""
        height, width = self.depth.shape
        K, pose = self.network_intrinsics, self.cam2world
        x = (np.arange(width) - K[0, 2]) / K[0, 0]
        y = (np.arange(height) - K[1, 2]) / K[1, 1]
        rays = np.stack(np.broadcast_arrays(x[None], y[:, None], 1.0), axis=-1) @ pose[:3, :3].T
        return (self.depth[..., None] * rays + pose[:3, 3]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Dense points.

    Attributes:
        positions: (n, 3) float32, world.
        colors: (n, 3) uint8 RGB.
        confidence: (n,) float32.
        component: (n,) int32, the group of images (`SceneImage.component`) that a point belongs to; None: all
            to group 0.
    """

    positions: Float[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"]
    confidence: Float[np.ndarray, " n"]
    component: Int[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        """Check lengths and fix dtypes."""
        count = len(self.positions)
        _check(self, count, positions=(3, np.float32), colors=(3, np.uint8), confidence=(0, np.float32))
        if self.component is not None:
            _check(self, count, component=(0, np.int32))

    def __len__(self) -> int:
        """Number of points."""
        return len(self.positions)

    @property
    def components(self) -> Int[np.ndarray, " n"]:
        """`component`, spelled out."""
        return np.zeros(len(self), np.int32) if self.component is None else self.component

    @classmethod
    def empty(cls) -> PointCloud:
        """No point."""
        return cls(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class Tracks:
    """Sparse points, each seen in several images; observations are flat arrays sorted by track.

    Attributes:
        positions: (t, 3) float64, world.
        colors: (t, 3) uint8 RGB.
        track: (m,) int64, which point an observation shows.
        image: (m,) int64, index into `Scene.images`.
        xy: (m, 2) float64, where, in ORIGINAL pixels.
        reprojection_error: (m,) float64, distance to the projected point in original pixels.
    """

    positions: Float[np.ndarray, "t 3"]
    colors: UInt8[np.ndarray, "t 3"]
    track: Int[np.ndarray, " m"]
    image: Int[np.ndarray, " m"]
    xy: Float[np.ndarray, "m 2"]
    reprojection_error: Float[np.ndarray, " m"]

    def __post_init__(self) -> None:
        """Check lengths and fix dtypes."""
        _check(self, len(self.positions), positions=(3, np.float64), colors=(3, np.uint8))
        _check(self, len(self.track), track=(0, np.int64), image=(0, np.int64), xy=(2, np.float64))
        _check(self, len(self.track), reprojection_error=(0, np.float64))

    def __len__(self) -> int:
        """Number of tracks."""
        return len(self.positions)

    def of_images(self, chosen: Bool[np.ndarray, " n"]) -> Tracks:
        """What some of the scene's images see, and only that; `image` counts among those then."""
        own = chosen[self.image]
        numbers, track = np.unique(self.track[own], return_inverse=True)
        return Tracks(
            self.positions[numbers],
            self.colors[numbers],
            track,
            (np.cumsum(chosen) - 1)[self.image[own]],
            self.xy[own],
            self.reprojection_error[own],
        )

    @classmethod
    def empty(cls) -> Tracks:
        """No track."""
        none = np.zeros(0)
        return cls(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), none, none, np.zeros((0, 2)), none)


@dataclass(frozen=True)
class DroppedImage:
    """A photo that could not be placed.

    Attributes:
        name: as given.
        reason: for people, one line.
    """

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Scene:
    """A finished reconstruction.

    Attributes:
        images: the placed photos.
        points: dense points of all of them.
        tracks: sparse points with their observations.
        dropped: photos that could not be placed.
        report: what happened, ready for JSON (pairs, losses, times, ...).
        image_folder: what names of images are relative to: absolute, or relative to the folder that the scene
            is written into; empty if unknown.
        appearance: how exporters show it, see `filtered`; `save` does not keep it.
    """

    images: tuple[SceneImage, ...]
    points: PointCloud
    tracks: Tracks
    dropped: tuple[DroppedImage, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    image_folder: str = ""
    appearance: Appearance = field(default_factory=Appearance)

    def save(
        self,
        folder: str | Path,
        formats: Iterable[str | Exporter] = DEFAULT_FORMATS,
        *,
        shown: Scene | None = None,
    ) -> tuple[Path, ...]:
        """Write the scene, and exports of it; see `mast3r_sfm.scene_storage.save_scene`.

        Args:
            folder: made if it is missing. Other files in it are left alone.
            formats: names of registered exporters (``mast3r plugins exporters``), or functions like them,
                such as ``functools.partial(write_glb, max_points=10_000)``.
            shown: what exporters get, such as ``filtered(scene, ViewFilters(percentile=20))``, while `load`
                brings back all of this scene; None: this scene.

        Returns:
            All files written.

        Raises:
            OutputError: the folder cannot be written; what was there before is still there.
            PluginError: no exporter has that name.
        """
        from .scene_storage import save_scene

        return save_scene(self, Path(folder), formats, shown=shown)

    def export(self, folder: str | Path, formats: Iterable[str | Exporter]) -> tuple[Path, ...]:
        """Write exports alone: nothing that `load` reads.

        Args:
            folder: made if it is missing; may be the scene's own. Other files are left alone.
            formats: as for `save`.

        Returns:
            The files written.

        Raises:
            OutputError: the folder cannot be written; what was there before is still there.
            PluginError: no exporter has that name.
        """
        from .scene_storage import export_scene

        return export_scene(self, Path(folder), formats)

    @staticmethod
    def load(folder: str | Path) -> Scene:
        """Read what `save` wrote, whatever the formats were.

        Raises:
            InputError: the folder holds no scene, or a broken one.
        """
        from .scene_storage import load_scene

        return load_scene(Path(folder))

    def components(self) -> tuple[Scene, ...]:
        """One scene for each group of connected images, in the order of their numbers."""
        numbers = np.unique([image.component for image in self.images])
        if len(numbers) <= 1:
            return (self,)
        return tuple(self._component(int(number)) for number in numbers)

    def _component(self, number: int) -> Scene:
        chosen = np.array([image.component == number for image in self.images])
        points, near = self.points, self.points.components == number
        return replace(
            self,
            images=tuple(image for image in self.images if image.component == number),
            points=PointCloud(
                points.positions[near], points.colors[near], points.confidence[near], points.components[near]
            ),
            tracks=self.tracks.of_images(chosen),
        )

    def cameras(self) -> PosedCameras:
        """Names, sizes, intrinsics and poses of all images, in original pixels."""
        return PosedCameras(
            names=tuple(image.name for image in self.images),
            shapes=tuple(image.original_shape for image in self.images),
            intrinsics=np.array([image.intrinsics for image in self.images]).reshape(-1, 3, 3),
            cam2world=np.array([image.cam2world for image in self.images]).reshape(-1, 4, 4),
        )


def _check(owner: object, count: int, **columns: tuple[int, type[np.generic]]) -> None:
    """Give arrays their dtype, and see that they have ``count`` rows of as many numbers (0: no axis)."""
    for name, (width, kind) in columns.items():
        array = np.asarray(getattr(owner, name), dtype=kind)
        expected = (count, width) if width else (count,)
        if array.shape != expected:
            raise InputError(f"expected {name} of shape {expected}, got {array.shape}")
        object.__setattr__(owner, name, array)
