"""Which map images see what another one sees, as far as the map says (spec 50 D1)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mast3r_visloc.cameras import project
from mast3r_visloc.maps import DensePoints, LocalizationMap, MapImage

NEIGHBOURS = 6
"""Of an image, at most."""

LARGEST_ANGLE = 60.0
"""Degrees between the directions of view of two images that see the same."""

LEAST_SHARE = 0.1
"""Of an image's points: so many must lie in the other's view."""

_LOOKED_AT = 24
_SAMPLE = 500


class CovisibleImages:
    """For images of a map, others that see the same.

    Those with 3D points count, where there are any: by the share of their points that lie in the image's
    view, or, where its camera is not known, by how near they were taken. Else it is the nearest ones.

    Args:
        localization_map: the map.
    """

    def __init__(self, localization_map: LocalizationMap) -> None:
        self._images = localization_map.images
        posed = [number for number, image in enumerate(self._images) if image.cam2world is not None]
        self._numbers = np.array(posed, dtype=np.int64)
        self._poses = np.array([self._images[number].cam2world for number in posed]).reshape(-1, 4, 4)
        self._with_points = [self._images[number].load_points is not None for number in posed]
        self._samples: dict[int, Float[np.ndarray, "n 3"]] = {}

    def of(self, number: int) -> list[int]:
        """At most `NEIGHBOURS` images, best first.

        Args:
            number: of an image with a pose; others have no neighbours.
        """
        image = self._images[number]
        if image.cam2world is None:
            return []
        distance = np.linalg.norm(self._poses[:, :3, 3] - image.cam2world[:3, 3], axis=1)
        along = np.clip(self._poses[:, :3, 2] @ image.cam2world[:3, 2], -1, 1)
        alike = (np.degrees(np.arccos(along)) < LARGEST_ANGLE) & (self._numbers != number)
        order = np.argsort(distance, kind="stable")
        known = [row for row in order if alike[row] and self._with_points[row]][:_LOOKED_AT]
        if not known:
            return [int(self._numbers[row]) for row in order if alike[row]][:NEIGHBOURS]
        shares = {int(self._numbers[row]): self._share(image, int(self._numbers[row])) for row in known}
        seeing = [each for each, share in shares.items() if share >= LEAST_SHARE]
        return sorted(seeing, key=lambda each: -shares[each])[:NEIGHBOURS]

    def sample(self, number: int) -> Float[np.ndarray, "n 3"]:
        """Some of the 3D points of an image, in the map's world frame; none if it has none.

        Args:
            number: of the image.
        """
        if number not in self._samples:
            load = self._images[number].load_points
            points = None if load is None else load()
            if points is None:
                xyz = np.empty((0, 3))
            elif isinstance(points, DensePoints):
                xyz = points.grid.reshape(-1, 3)
                xyz = xyz[np.isfinite(xyz).all(axis=1)]
            else:
                xyz = points.xyz
            step = max(1, len(xyz) // _SAMPLE)
            self._samples[number] = np.asarray(xyz[::step], dtype=np.float64)
        return self._samples[number]

    def _share(self, image: MapImage, other: int) -> float:
        """Of the other image's points: how many lie in the view of this one."""
        xyz, pose, camera = self.sample(other), image.cam2world, image.camera
        if not len(xyz):
            return 0.0
        if camera is None or pose is None:
            return 1.0
        pixels = project(camera, (xyz - pose[:3, 3]) @ pose[:3, :3])
        # NaN, behind the camera, is neither above nor below.
        inside = ((pixels > -0.5) & (pixels < np.array([camera.width, camera.height]) - 0.5)).all(axis=1)
        return float(inside.mean())
