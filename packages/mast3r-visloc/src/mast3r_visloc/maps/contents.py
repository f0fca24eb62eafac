"""What a map holds: photos, their cameras and poses, and the 3D points that each sees (spec 50 D1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mast3r_model import ImageTransform, InputError
from mast3r_visloc.cameras import Camera


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """3D points that an image observes at known places, as COLMAP models have them.

    Attributes:
        xy: (n, 2) float64 pixels of the photo, an integer being a pixel's centre.
        xyz: (n, 3) float64 in the map's world frame.
        point_ids: (n,) which 3D point each is: equal numbers in two images are one point.
    """

    xy: Float[np.ndarray, "n 2"]
    xyz: Float[np.ndarray, "n 3"]
    point_ids: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of observations."""
        return len(self.xy)


@dataclass(frozen=True, eq=False)
class DensePoints:
    """A 3D point for (nearly) every pixel of a grid over the photo.

    Attributes:
        grid: (h, w, 3) in the map's world frame, NaN where nothing is known.
        transform: between the photo's pixels ("original") and the grid's ("network").
        confidence: (h, w), larger is surer; None where the map does not say.
    """

    grid: Float[np.ndarray, "h w 3"]
    transform: ImageTransform
    confidence: Float[np.ndarray, "h w"] | None = None


ImagePoints = SparsePoints | DensePoints


@dataclass(frozen=True, eq=False)
class MapImage:
    """A photo of the map.

    Attributes:
        name: unique in the map; a label, never used as a path.
        path: the file.
        camera: in the photo's pixels; None if unknown.
        cam2world: 4x4 float64, camera axes x right, y down, z forward; None if unknown.
        load_points: reads the 3D points that the photo sees; None if it has none.
    """

    name: str
    path: Path
    camera: Camera | None
    cam2world: Float[np.ndarray, "4 4"] | None
    load_points: Callable[[], ImagePoints] | None = None


@dataclass(frozen=True, eq=False)
class LocalizationMap:
    """Photos with known cameras and some 3D.

    Attributes:
        images: in a fixed order, names unique.
        source: the folder that it was read from.
        kind: what was found there, for people: ``COLMAP model``, ``mast3r scene``, ``kapture folder``...
        colmap_model: folder of the COLMAP model, for maps that are one.
    """

    images: Sequence[MapImage]
    source: Path
    kind: str
    colmap_model: Path | None = None

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Position of each image by name.

        Raises:
            InputError: two images have one name.
        """
        found = {image.name: index for index, image in enumerate(self.images)}
        if len(found) != len(self.images):
            raise InputError(f"{self.source}: two images of the map have one name")
        return found

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)
