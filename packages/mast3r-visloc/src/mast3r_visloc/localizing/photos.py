"""Photos as the network sees them, upright, and the way back to their files' pixels (spec 50, trap 30)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image
from torch import Tensor

from mast3r_model import ImageError, ImageTransform, LoadedImage, load_image

LEAST_PER_PATCH = 2
"""File pixels along one of the network's patches, of a photo that can be localised.

Three photos of a building, nano at 512 pixels, the focal length unknown: positions of 40x30 pixels were off
by 7 to 24 % of the cameras' spread although more than a hundred matches agreed; of 64x48 by 1.4 to 4.7 %, of
160x120 by 0.5 to 1 %, of 1000x750 by 0.4 to 0.7 %.
"""

FEW_PER_PATCH = 4
"""With fewer, the pose is rough."""


@dataclass(frozen=True, eq=False)
class FileTransform:
    """Between the pixels of a photo's file, which cameras and points speak of, and the network's.

    It has the methods of `mast3r_model.ImageTransform`, but may turn and mirror.

    Attributes:
        original_shape: (height, width) of the file's pixels, the EXIF orientation not applied.
        upright_from_file: 3x3, from the file's pixels to those of the upright photo.
        upright: between the upright photo and the network's input.
    """

    original_shape: tuple[int, int]
    upright_from_file: Float[np.ndarray, "3 3"]
    upright: ImageTransform

    @property
    def network_shape(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return self.upright.network_shape

    @property
    def quarter_turns(self) -> int | None:
        """How often the file's photo is turned by 90 degrees counter-clockwise to make it upright; None if it
        is mirrored."""
        turn = self.upright_from_file[:2, :2]
        if np.linalg.det(turn) < 0:
            return None
        # (x, y) -> (y, W - 1 - x) is one turn as numpy.rot90 does it: the first row of it is (0, 1).
        return {(1, 0): 0, (0, 1): 1, (-1, 0): 2, (0, -1): 3}[int(turn[0, 0]), int(turn[0, 1])]

    def file_to_upright(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels (x, y) of the file as pixels of the upright photo."""
        return points @ self.upright_from_file[:2, :2].T + self.upright_from_file[:2, 2]

    def upright_to_file(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """The way back."""
        # A signed permutation: its inverse is its transpose.
        return (points - self.upright_from_file[:2, 2]) @ self.upright_from_file[:2, :2]

    def points_to_network(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels (x, y) of the file as pixels of the network's input."""
        return self.upright.points_to_network(self.file_to_upright(points))

    def points_to_original(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels (x, y) of the network's input as pixels of the file."""
        return self.upright_to_file(self.upright.points_to_original(points))


@dataclass(frozen=True, eq=False)
class NetworkPhoto:
    """A photo that was read for the network.

    Attributes:
        loaded: the upright photo and the network's input.
        transform: between the file's pixels and the network's.
    """

    loaded: LoadedImage
    transform: FileTransform

    @property
    def tensor(self) -> Float[Tensor, "3 h w"]:
        """The network's input."""
        return self.loaded.tensor


def read_photo(path: Path, *, size: int, patch_size: int) -> NetworkPhoto:
    """Read a photo for the network.

    Args:
        path: the file.
        size: long side of the network's input in pixels.
        patch_size: of the network.

    Raises:
        ImageError: it cannot be read, or is too small or too elongated.
    """
    loaded = load_image(path, size, patch_size=patch_size)
    orientation = photo_orientation(path)
    shape = loaded.transform.original_shape
    if orientation >= 5:
        shape = shape[::-1]
    transform = FileTransform(shape, upright_from_file(orientation, shape), loaded.transform)
    return NetworkPhoto(loaded, transform)


def check_detail(photo: NetworkPhoto, name: str, *, patch_size: int) -> str | None:
    """See that a query is not so small that the network would see a blur.

    Matches of an enlarged photo are not independent: many agree on a pose that is far off, see
    `LEAST_PER_PATCH`.

    Args:
        photo: the query.
        name: of it, for messages.
        patch_size: of the network.

    Returns:
        A warning for a photo that has little detail; None for others.

    Raises:
        ImageError: it has too little.
    """
    upright = photo.transform.upright
    scale = max(upright.network_from_original[0, 0], upright.network_from_original[1, 1])
    per_patch = patch_size / float(scale)
    height, width = photo.transform.original_shape
    if per_patch >= FEW_PER_PATCH:
        return None
    needed = round(max(height, width) * LEAST_PER_PATCH / per_patch)
    if per_patch < LEAST_PER_PATCH:
        raise ImageError(
            f"{name} is too small to be localised: {width}x{height} pixels, expected {needed} along one side",
            "take a larger copy of the photo",
        )
    return f"the photo has only {width}x{height} pixels: its pose is rough"


def photo_orientation(path: Path) -> int:
    """The EXIF orientation, 1 to 8; 1 where none that means something is noted.

    Args:
        path: a photo that can be read.
    """
    with Image.open(path) as photo:
        orientation = photo.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def upright_from_file(orientation: int, shape: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """From the file's pixels to those of the upright photo (EXIF 2.32, section 4.6.4, tag Orientation).

    Args:
        orientation: 1 to 8.
        shape: (height, width) of the file's pixels.
    """
    height, width = shape
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    from_right, from_below = np.array([-1.0, 0, width - 1]), np.array([0, -1.0, height - 1])
    rows = {
        1: (x, y),
        2: (from_right, y),
        3: (from_right, from_below),
        4: (x, from_below),
        5: (y, x),
        6: (from_below, x),
        7: (from_below, from_right),
        8: (y, from_right),
    }[orientation]
    return np.stack([*rows, np.array([0, 0, 1.0])])
