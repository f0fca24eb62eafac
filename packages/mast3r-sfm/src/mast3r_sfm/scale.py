"""How large the world is: the network's metres, a distance that the user knows, or known poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError

from .cameras import PosedCameras
from .photos import ImageSet
from .scene import Scene, SceneImage


@dataclass(frozen=True)
class Landmark:
    """A camera's centre, or what a photo shows at a pixel.

    Attributes:
        image: name of the photo.
        xy: original pixel; None for the camera itself.
    """

    image: str
    xy: tuple[float, float] | None = None


@dataclass(frozen=True)
class KnownDistance:
    """A distance that was measured.

    Attributes:
        start: from here.
        end: to here.
        metres: as the crow flies.
    """

    start: Landmark
    end: Landmark
    metres: float

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            InputError: it is not above 0.
        """
        if not (np.isfinite(self.metres) and self.metres > 0):
            raise InputError(f"a known distance is {self.metres} metres", "it must be above 0")


def check_distance(images: ImageSet, known: KnownDistance | None) -> None:
    """See that a known distance is between these photos, before anything long is computed.

    Raises:
        InputError: it names another photo, or a pixel outside of one.
    """
    if known is None:
        return
    shapes = tuple(image.transform.original_shape for image in images)
    free = np.full((len(images), 4, 4), np.nan)
    cameras = PosedCameras(images.names, shapes, free[:, :3, :3], free)
    for landmark, index in zip(
        (known.start, known.end), cameras.find([known.start.image, known.end.image]), strict=True
    ):
        if index is None:
            raise InputError(
                f"the known distance names {landmark.image}, which is none of the {len(images)} photos",
                f"the photos are {', '.join(images.names[:3])}",
            )
        height, width = shapes[index]
        if landmark.xy is not None and not (0 <= landmark.xy[0] < width and 0 <= landmark.xy[1] < height):
            raise InputError(
                f"the known distance is at pixel {landmark.xy} of {landmark.image}, "
                f"which has {width}x{height} pixels"
            )


def network_scale(images: Sequence[SceneImage], network_depth: Sequence[Float[np.ndarray, "h w"]]) -> float:
    """Metres of the network in one unit of the world: mean over the images, of each image the median.

    Args:
        images: with depth in world units.
        network_depth: of the same images, what the network says (canonical view's z).
    """
    ratios = []
    for image, metres in zip(images, network_depth, strict=True):
        both = (image.depth > 0) & (image.confidence > 0) & (metres > 0) & np.isfinite(metres)
        if both.any():
            ratios.append(np.log(np.median(metres[both] / image.depth[both])))
    return float(np.exp(np.mean(ratios))) if ratios else 1.0


def measured_scale(scene: Scene, known: KnownDistance) -> tuple[int, float]:
    """The group of photos in which a known distance lies, and metres in one unit of its world.

    Raises:
        InputError: a photo was not placed, the two are in different groups, a pixel has no depth, or both
            ends are at one place.
    """
    ends = [_locate(scene, landmark) for landmark in (known.start, known.end)]
    (first, here), (second, there) = ends
    if first != second:
        raise InputError(
            f"{known.start.image} and {known.end.image} are in groups that no match connects",
            "give a distance between photos of one group",
        )
    distance = float(np.linalg.norm(here - there))
    if distance == 0:
        raise InputError("the two ends of the known distance are at one place")
    return first, known.metres / distance


def _locate(scene: Scene, landmark: Landmark) -> tuple[int, Float[np.ndarray, " 3"]]:
    """The group and the place of a landmark in the world."""
    (index,) = scene.cameras().find([landmark.image])
    if index is None:
        raise InputError(f"the photo {landmark.image} of the known distance was not placed")
    image = scene.images[index]
    if landmark.xy is None:
        return image.component, image.cam2world[:3, 3]
    x, y = image.transform.points_to_network(np.array([landmark.xy]))[0].round().astype(int)
    height, width = image.depth.shape
    if not (0 <= x < width and 0 <= y < height) or not image.depth[y, x] > 0:
        raise InputError(f"{landmark.image} has no depth at pixel {landmark.xy}")
    return image.component, image.pts3d()[y, x].astype(np.float64)


def scaled(
    scene: Scene, component: int, factor: float, fixed: Float[np.ndarray, " 3"] | None = None
) -> Scene:
    """The scene with all lengths of one group of photos multiplied.

    Args:
        scene: as it is.
        component: the group.
        factor: above 0.
        fixed: the point that stays where it is; None for the origin.
    """
    fixed = np.zeros(3) if fixed is None else fixed
    images = tuple(
        _scaled_image(image, factor, fixed) if image.component == component else image
        for image in scene.images
    )
    here = np.array([image.component == component for image in scene.images])
    positions = scene.tracks.positions.copy()
    moved = np.unique(scene.tracks.track[here[scene.tracks.image]])
    positions[moved] = fixed + factor * (positions[moved] - fixed)
    points = scene.points
    dense = np.where((points.components == component)[:, None], factor, 1.0)
    return replace(
        scene,
        images=images,
        tracks=replace(scene.tracks, positions=positions),
        points=replace(points, positions=fixed + dense * (points.positions - fixed)),
    )


def _scaled_image(image: SceneImage, factor: float, fixed: Float[np.ndarray, " 3"]) -> SceneImage:
    pose = image.cam2world.copy()
    pose[:3, 3] = fixed + factor * (pose[:3, 3] - fixed)
    return replace(image, cam2world=pose, depth=image.depth * np.float32(factor))


def set_scale(
    scene: Scene,
    network_depths: Sequence[Float[np.ndarray, "h w"]],
    known_poses: Sequence[bool],
    distance: KnownDistance | None,
) -> tuple[Scene, list[dict[str, Any]]]:
    """Give every group of photos its scale.

    A known distance decides for its group; else two known poses; else the network's metres.

    Args:
        scene: in whatever units the mapper made.
        network_depths: of every image of the scene, camera z as the network says.
        known_poses: of every image of the scene, whether its pose was given.
        distance: that is known.

    Returns:
        The scene, and for every group what decided and by how much lengths were multiplied, ready for JSON.

    Raises:
        InputError: the known distance cannot be measured in the scene, or its group has two known poses.
    """
    decided = None if distance is None else measured_scale(scene, distance)
    report: list[dict[str, Any]] = []
    for component in sorted({image.component for image in scene.images}):
        group = [k for k, image in enumerate(scene.images) if image.component == component]
        posed = [k for k in group if known_poses[k]]
        if decided is not None and decided[0] == component:
            if len(posed) > 1:
                raise InputError("known poses fix the scale already", "give them or a distance, not both")
            source, factor = "known distance", decided[1]
        elif len(posed) > 1:
            source, factor = "known poses", 1.0
        else:
            images = [scene.images[k] for k in group]
            source, factor = "network", network_scale(images, [network_depths[k] for k in group])
        fixed = scene.images[posed[0]].cam2world[:3, 3] if posed else None
        scene = scaled(scene, component, factor, fixed)
        report.append({"component": component, "from": source, "factor": factor})
    return scene, report
