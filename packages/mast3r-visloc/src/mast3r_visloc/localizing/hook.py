"""This package's localizer for programs that find it by name: the hook ``mast3r_localizers``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from mast3r_visloc.maps import read_map

from .localizer import Localizer

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo

REASONS = {
    "no_candidates": "no photo of the map looks like it",
    "few_matches": "too few of its pixels match the map",
    "few_inliers": "its matches with the map agree on no pose",
    "chance": "wrong matches would agree on a pose as well as these do",
}


@dataclass(frozen=True, eq=False)
class FoundPose:
    """Where a photo was taken, or why that is not known.

    Attributes:
        success: whether there is a pose.
        cam2world: 4x4 in the map's world; None without success.
        num_inliers: matches that agree with the pose.
        reason: why there is none; None with success.
        intrinsics: 3x3, in the pixels of the photo's file.
    """

    success: bool
    cam2world: Float[np.ndarray, "4 4"] | None
    num_inliers: int
    reason: str | None
    intrinsics: Float[np.ndarray, "3 3"]


class OpenedMap:
    """A map in which photos are localised, with the options that `Localizer` has by itself.

    Args:
        map_path: the folder of a map.
        model: a network.

    Raises:
        InputError: there is no map that can be used.
    """

    def __init__(self, map_path: str | Path, model: AsymmetricCroCo3DStereo) -> None:
        self._localizer = Localizer(read_map(map_path), model)

    def localize(self, photo_path: str | Path) -> FoundPose:
        """Find where a photo was taken.

        Raises:
            ImageError: the photo cannot be read.
        """
        pose = self._localizer.localize(photo_path)
        reason = None if pose.reason is None else REASONS[pose.reason]
        return FoundPose(pose.success, pose.cam2world, pose.num_inliers, reason, pose.camera.intrinsics)

    def close(self) -> None:
        """Delete what was kept on the disk."""
        self._localizer.close()


def open_localizer(map_path: str | Path, model: AsymmetricCroCo3DStereo) -> OpenedMap:
    """What the hook asks for."""
    return OpenedMap(map_path, model)
