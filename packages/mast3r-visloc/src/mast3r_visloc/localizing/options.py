"""How photos are localised: one set of options for functions and commands (spec 50 D, 60 F4)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import get_args

from mast3r_model import InputError, nearest_names
from mast3r_visloc.cameras import FocalChoice


@dataclass(frozen=True)
class LocalizationOptions:
    """How photos are localised.

    Attributes:
        retrieval: which map images to try: ``auto``, ``encoder``, ``all``, the name of another retriever, or
            the path of a retrieval checkpoint.
        topk: so many of them at most.
        exhaustive: try them all; else stop as soon as more of them would not help.
        cluster: solve each group of candidates that see common things alone, and keep the best.
        fine: match large photos again, window by window.
        max_image_size: shrink larger photos to this before `fine`; None for never.
        homography: turn the windows of `fine` to the front, where cameras are known.
        pixel_tolerance: network pixels by which a match's way there and back may miss its start.
        min_confidence: matches below are dropped.
        map_stride: of maps with dense depth every so-manieth network pixel is matched, along both axes.
        points_per_image: of a map image's points so many are looked for, spread over the image.
        subpixel: place matches in the query between pixels.
        solver: of PnP, by name.
        threshold: of its inliers: ``0.8%`` of the query's diagonal, or ``12px``.
        min_inliers: fewer are a failure.
        max_chance: a failure, too, is a pose of which wrong matches are expected to offer more than so many;
            infinite asks for nothing.
        max_points: RANSAC sees at most so many correspondences.
        focal: what to do about the query's focal length.
        align: where that fails, place the network's own points on the map's.
        densify: map images without 3D get the network's own points, in the map's unit.
        covariance: also tell how sure the pose is.
        size: long side of the network's input in pixels; None for what the network was made for.
        batch_size: images, and pairs, at a time.
        seed: of all random choices.
    """

    retrieval: str = "auto"
    topk: int = 20
    exhaustive: bool = False
    cluster: bool = False
    fine: bool = False
    max_image_size: int | None = None
    homography: bool = True
    pixel_tolerance: float = 5.0
    min_confidence: float = 1.001
    map_stride: int = 4
    points_per_image: int = 768
    subpixel: bool = True
    solver: str = "poselib"
    threshold: str | float = "0.8%"
    min_inliers: int = 12
    max_chance: float = 0.01
    max_points: int = 100_000
    focal: FocalChoice = "auto"
    align: bool = False
    densify: bool = False
    covariance: bool = False
    size: int | None = None
    batch_size: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that mean nothing.

        Raises:
            InputError: a value outside its range.
        """
        least = {
            "topk": 1,
            "map_stride": 1,
            "points_per_image": 4,
            "min_inliers": 4,
            "max_points": 4,
            "size": 16,
            "batch_size": 1,
        }
        for name, bound in least.items():
            if (value := getattr(self, name)) is not None and value < bound:
                raise InputError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        for name in ("min_confidence", "max_chance"):
            if math.isnan(getattr(self, name)):
                raise InputError(f"{name} must be a number, got nan")
        if not self.pixel_tolerance > 0:
            raise InputError(f"pixel_tolerance must be above 0, got {self.pixel_tolerance}")
        if self.max_image_size is not None and self.max_image_size < 64:
            raise InputError(f"max_image_size must be at least 64, got {self.max_image_size}")
        if self.focal not in get_args(FocalChoice):
            raise InputError(f"focal must be one of {', '.join(get_args(FocalChoice))}, got {self.focal!r}")


def localization_options(
    options: LocalizationOptions | None, keywords: dict[str, object]
) -> LocalizationOptions:
    """Options with some of them changed by keywords.

    Raises:
        InputError: an unknown keyword, or a value outside its range.
    """
    if keywords.get("batch_size") == "auto":
        keywords = {**keywords, "batch_size": LocalizationOptions.batch_size}
    known = [field.name for field in dataclasses.fields(LocalizationOptions)]
    for name in keywords:
        if name not in known:
            near = nearest_names(name, known)
            raise InputError(
                f"unknown option {name!r}", f"did you mean {' or '.join(near)}?" if near else None
            )
    return dataclasses.replace(options or LocalizationOptions(), **keywords)  # type: ignore[arg-type]
