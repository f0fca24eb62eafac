"""What `PosedPhotos` needs of a folder: photos with depth and cameras, and who sees what."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

Geometry = tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "3 3"]]
"""Depth and intrinsics, in the depth map's pixels."""


class PhotoSource(ABC):
    """Photos of one reconstruction. It keeps no file open, so that it can be sent to worker processes.

    Attributes:
        names: of the photos, sorted.
        cam2world: x right, y down, z forward; in the reconstruction's unit.
        group: poses of photos of different groups do not relate to each other.
    """

    names: tuple[str, ...]
    cam2world: Float[np.ndarray, "n 4 4"]
    group: Int[np.ndarray, " n"]

    @abstractmethod
    def geometry(self, number: int) -> Geometry:
        """Depth (0 unknown, below 0 sky) and intrinsics of a photo.

        Raises:
            SampleError: a file is missing or broken.
        """

    @abstractmethod
    def image(self, number: int) -> Image.Image:
        """A photo; it may have more or fewer pixels than its depth map.

        Raises:
            SampleError: a file is missing or broken.
        """

    @abstractmethod
    def tracks(self) -> Int[np.ndarray, "m 2"]:
        """Observations: the number of a photo, and of a point that it shows."""

    @abstractmethod
    def signature(self) -> str:
        """A text that changes when depth or cameras do."""
