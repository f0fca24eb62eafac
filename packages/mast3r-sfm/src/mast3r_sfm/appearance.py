"""How a scene is shown: what the user asks for, and what exporters are told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mast3r_model import InputError

CameraStyle: TypeAlias = Literal["photos", "edges", "none"]
"""Pyramids with the photo on the image plane, pyramids that one can look through, or nothing."""


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """What exporters need to know of a view, beyond the scene's points and maps: see `Scene.appearance`.

    Attributes:
        min_confidence: pixels are shown above it; None: as `shown_confidence` finds.
        as_mesh: triangles between neighbouring pixels instead of points.
        camera_size: height of a drawn camera's image plane in world units; None: in proportion to the scene.
        cameras: how they are drawn.
        max_points: so many points are written at most, see `thinned`; None: as the exporter wants.
    """

    min_confidence: float | None = None
    as_mesh: bool = False
    camera_size: float | None = None
    cameras: CameraStyle = "photos"
    max_points: int | None = None


@dataclass(frozen=True, kw_only=True)
class ViewFilters:
    """Which pixels of a scene are shown, and how; see `filtered` (spec 60 A2, F4).

    Attributes:
        min_confidence: pixels are shown above it; None: as the scene was made, if ``percentile`` is None too.
        percentile: hide at most this share of the pixels that have a depth, in percent: the least certain.
        only_photos: show the points of these photos (`SceneImage.name`) alone; empty: of all. Cameras stay.
        max_points: show so many points at most: of each photo the same share, spread over it, the most
            certain first; a mesh gets wider triangles instead. None: as many as a format can take.
        mask_sky: hide what looks like sky.
        drop_black: hide pixels that are as good as black: a plain background.
        drop_white: hide pixels that are as good as white.
        clean_depth: hide points in front of what other photos see more surely. `reconstruct` has done that
            already unless told not to; it pays again after ``tsdf``.
        tsdf: move depths by at most this, in world units, onto the surface that all photos agree on; 0: off.
        as_mesh: triangles between neighbouring pixels instead of points.
        camera_size: height of a drawn camera's image plane in world units; 0: draw none; None: in proportion
            to the scene.
        transparent_cameras: without the photos on the image planes.
    """

    min_confidence: float | None = None
    percentile: float | None = None
    only_photos: tuple[str, ...] = ()
    max_points: int | None = None
    mask_sky: bool = False
    drop_black: bool = False
    drop_white: bool = False
    clean_depth: bool = False
    tsdf: float = 0.0
    as_mesh: bool = False
    camera_size: float | None = None
    transparent_cameras: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: one is out of its range.
        """
        if self.percentile is not None and not 0 <= self.percentile < 100:
            raise InputError(f"percentile is {self.percentile}", "expected from 0 to below 100")
        if self.min_confidence is not None and math.isnan(self.min_confidence):
            raise InputError("min_confidence is not a number")
        if self.max_points is not None and self.max_points < 1:
            raise InputError(f"max_points is {self.max_points}", "expected at least 1, or None for no limit")
        for name, value in (("tsdf", self.tsdf), ("camera_size", self.camera_size)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}", "expected 0 or more, in world units")

    @property
    def cameras(self) -> CameraStyle:
        """How cameras are drawn."""
        if self.camera_size == 0:
            return "none"
        return "edges" if self.transparent_cameras else "photos"
