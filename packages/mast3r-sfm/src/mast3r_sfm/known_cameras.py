"""What a user knows about the cameras, as the aligner takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mast3r_model import InputError

from .cameras import PosedCameras
from .photos import ImageSet
from .sparse import CameraPriors


@dataclass(frozen=True, kw_only=True)
class KnownCameras:
    """Cameras that are known before the reconstruction, in the photos' own pixels.

    Attributes:
        intrinsics: cameras whose intrinsics count, by name; images that it does not name are free.
        poses: cameras whose poses count, by name.
        shared_intrinsics: (3, 3) of every photo.
        focal_sigma: standard deviation of the log focal; 0 keeps intrinsics exactly.
        rotation_sigma: of poses, in radians; 0 keeps them exactly.
        translation_sigma: of poses, in world units.
    """

    intrinsics: PosedCameras | None = None
    poses: PosedCameras | None = None
    shared_intrinsics: np.ndarray | None = None
    focal_sigma: float = 0.0
    rotation_sigma: float = 0.0
    translation_sigma: float = 0.0


def camera_priors(images: ImageSet, known: KnownCameras | None, *, shared_intrinsics: bool) -> CameraPriors:
    """Priors of these images, in network pixels.

    Args:
        images: a group of connected images.
        known: what is known.
        shared_intrinsics: all images share focal and principal point.

    Raises:
        InputError: known cameras that name none of the images.
    """
    count = len(images)
    if known is None:
        return CameraPriors.build(count, shared_intrinsics=shared_intrinsics)
    focal = torch.full((count,), torch.nan, dtype=torch.float64)
    center = torch.full((count, 2), torch.nan, dtype=torch.float64)
    pose = torch.full((count, 4, 4), torch.nan, dtype=torch.float64)
    for number, original in enumerate(_known_intrinsics(images, known)):
        if original is not None:
            network = images[number].transform.intrinsics_to_network(original)
            focal[number] = float(np.sqrt(network[0, 0] * network[1, 1]))
            center[number] = torch.from_numpy(network[:2, 2].copy())
    if known.poses is not None:
        for number, found in enumerate(_find(images, known.poses, "poses")):
            if found is not None:
                pose[number] = torch.from_numpy(known.poses.cam2world[found])
    return CameraPriors.build(
        count,
        focal=focal,
        focal_sigma=known.focal_sigma,
        principal_point=center,
        principal_point_sigma=known.focal_sigma * torch.nan_to_num(focal, nan=0.0),
        cam2world=pose,
        rotation_sigma=known.rotation_sigma,
        translation_sigma=known.translation_sigma,
        shared_intrinsics=shared_intrinsics,
    )


def known_poses(images: ImageSet, known: KnownCameras | None) -> list[bool]:
    """Of each image, whether its pose is known.

    Raises:
        InputError: known poses that name none of the images.
    """
    if known is None or known.poses is None:
        return [False] * len(images)
    return [found is not None for found in _find(images, known.poses, "poses")]


def _known_intrinsics(images: ImageSet, known: KnownCameras) -> list[np.ndarray | None]:
    if known.shared_intrinsics is not None:
        return [np.asarray(known.shared_intrinsics, np.float64)] * len(images)
    if known.intrinsics is None:
        return [None] * len(images)
    cameras = known.intrinsics
    return [
        None if found is None else cameras.intrinsics[found] for found in _find(images, cameras, "intrinsics")
    ]


def _find(images: ImageSet, cameras: PosedCameras, what: str) -> tuple[int | None, ...]:
    found = cameras.find(images.names)
    if all(index is None for index in found):
        raise InputError(
            f"the known {what} name none of the {len(images)} photos",
            f"they name {', '.join(cameras.names[:3])}; the photos are {', '.join(images.names[:3])}",
        )
    return found
