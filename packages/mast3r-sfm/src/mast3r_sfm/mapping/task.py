"""What a mapper is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_sfm.canonical import CanonicalView
from mast3r_sfm.known_cameras import KnownCameras
from mast3r_sfm.options import ReconstructionOptions
from mast3r_sfm.photos import ImageSet, SourceImage
from mast3r_sfm.predictions import PredictedPairs
from mast3r_sfm.progress import OnLoss, Progress
from mast3r_sfm.report import StageLog
from mast3r_sfm.scene import DroppedImage, Scene, SceneImage, Tracks

from .gathering import Gathered


@dataclass(frozen=True, eq=False)
class MappingTask:
    """Everything that is known before cameras are sought.

    Attributes:
        images: all of them.
        predictions: of all pairs.
        gathered: canonical views and matches.
        known: cameras that are known.
        options: how.
        log: counts time and memory.
        progress: shows bars.
        on_partial: is given what can be shown before the end.
        on_loss: is told of every step of an alignment.
    """

    images: ImageSet
    predictions: PredictedPairs
    gathered: Gathered
    known: KnownCameras | None
    options: ReconstructionOptions
    log: StageLog
    progress: Progress | None = None
    on_partial: Callable[[Scene], None] | None = None
    on_loss: OnLoss | None = None

    def views_of(self, group: Sequence[int]) -> list[CanonicalView]:
        """Canonical views of images that all have one."""
        views = [self.gathered.views[number] for number in group]
        return [view for view in views if view is not None]


@dataclass(frozen=True, eq=False)
class PlacedGroup:
    """Connected photos, placed in one world.

    Attributes:
        numbers: of the images in their set.
        images: the same, placed.
        tracks: their sparse points; ``image`` counts within the group.
        report: of the mapper, ready for JSON: ``solver`` and ``stages`` with their losses.
    """

    numbers: tuple[int, ...]
    images: tuple[SceneImage, ...]
    tracks: Tracks
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Placement:
    """What a mapper found.

    Attributes:
        groups: the largest first.
        dropped: images that it could not place.
    """

    groups: tuple[PlacedGroup, ...]
    dropped: tuple[DroppedImage, ...]

    @property
    def numbers(self) -> list[int]:
        """Numbers of all placed images in their set, group after group."""
        return [number for group in self.groups for number in group.numbers]


def network_depth(task: MappingTask, number: int) -> Float[np.ndarray, "h w"]:
    """Camera z of an image's canonical view, in the network's metres."""
    (view,) = task.views_of([number])
    return view.pts3d[..., 2].cpu().numpy()


def placed_image(
    image: SourceImage,
    *,
    intrinsics: Float[np.ndarray, "3 3"],
    cam2world: Float[np.ndarray, "4 4"],
    depth: Float[np.ndarray, "h w"],
    confidence: Float[np.ndarray, "h w"],
    component: int,
) -> SceneImage:
    """A photo with its camera and depth; what its mask leaves out, and what has no depth, has confidence 0.

    Args:
        image: the photo.
        intrinsics: NETWORK pixels.
        cam2world: in the group's world.
        depth: camera z, world units.
        confidence: at least 0.
        component: number of the group.
    """
    usable = np.isfinite(depth) & (depth > 0)
    if image.allowed is not None:
        confidence = np.where(image.allowed, confidence, 0)
    return SceneImage(
        name=image.name,
        original_shape=image.transform.original_shape,
        transform=image.transform,
        intrinsics=image.transform.intrinsics_to_original(intrinsics),
        cam2world=cam2world,
        depth=np.where(usable, depth, 0),
        confidence=np.where(usable, confidence, 0),
        color=image.pixels,
        component=component,
    )
