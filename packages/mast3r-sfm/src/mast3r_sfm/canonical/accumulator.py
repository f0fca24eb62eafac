"""From predictions of an image, one at a time, to its canonical view (spec 30 section 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError

from .focal import FocalMode, estimate_focal
from .maps import CanonicalMaps, CanonicalMode, CanonicalSums

#: Bounds of a focal, as multiples of the one of a 60 degree field of view.
MIN_FOCAL, MAX_FOCAL = 0.5, 3.5
#: One prediction's own focal is only needed for its spread: every fourth pixel of each axis will do.
_SPREAD_STRIDE = 4


@dataclass(frozen=True)
class CanonicalView:
    """What all predictions of an image together say about it; network pixels, camera frame.

    Attributes:
        shape: (height, width) of the network's image.
        principal_point: (2,) (x, y) in pixels.
        focal: estimated focal in pixels.
        focal_log_std: spread of log focal over the single predictions (0 if there was only one).
        pts3d: (h, w, 3) mean pointmap.
        relative_depth: (h, w) depth of a pixel divided by that of its block's centre.
        conf: (h, w) mean confidence, about 1 less than the network's.
        core_depth: (h/s, w/s) depth of the anchors (block centres).
        subsample: side s of a block in pixels.
    """

    shape: tuple[int, int]
    principal_point: Float[Tensor, " 2"]
    focal: float
    focal_log_std: float
    pts3d: Float[Tensor, "h w 3"]
    relative_depth: Float[Tensor, "h w"]
    conf: Float[Tensor, "h w"]
    core_depth: Float[Tensor, "rows columns"]
    subsample: int


class CanonicalAccumulator:
    """Average the predictions of one image as they come; memory does not grow with their number.

    Args:
        shape: (height, width) of the network's image, multiples of ``subsample``.
        subsample: side of a block in pixels.
        mode: how relative depths are averaged: ``avg-angle`` (default) or ``avg-reldepth``.
        principal_point: (x, y) in pixels; default (width / 2, height / 2), as upstream.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        subsample: int = 8,
        *,
        mode: CanonicalMode = "avg-angle",
        principal_point: Float[Tensor, " 2"] | None = None,
    ) -> None:
        self._sums = CanonicalSums(shape, subsample, mode)
        self._log_focals: list[float] = []
        height, width = shape
        center = torch.tensor([width / 2, height / 2])
        self._principal_point = center if principal_point is None else principal_point

    @property
    def count(self) -> int:
        """How many predictions were added."""
        return self._sums.count

    def add(self, pts3d: Float[Tensor, "h w 3"], conf: Float[Tensor, "h w"]) -> None:
        """Add one prediction of the image as its own reference.

        Args:
            pts3d: points in the image's camera frame.
            conf: the network's confidences, at least 1.

        Raises:
            InputError: the maps are not of the image's shape.
        """
        if tuple(conf.shape) != self._sums.shape or tuple(pts3d.shape) != (*self._sums.shape, 3):
            raise InputError(
                f"a prediction of shapes {tuple(pts3d.shape)} and {tuple(conf.shape)} was added to an image "
                f"of height and width {self._sums.shape}"
            )
        pts3d, conf = pts3d.float(), conf.float()
        self._sums.add(pts3d[None], conf[None])
        stride = _SPREAD_STRIDE
        # Pixel k of the thinned map is pixel k * stride: focal and principal point shrink alike.
        focal = estimate_focal(
            pts3d[::stride, ::stride],
            self._principal_point / stride,
            mode="robust",
            conf=conf[::stride, ::stride],
        )
        self._log_focals.append(math.log(max(focal, 1e-6)))

    def finish(self, *, focal_mode: FocalMode = "weiszfeld") -> CanonicalView:
        """The canonical view of everything added so far.

        Args:
            focal_mode: see :func:`estimate_focal`; ``weiszfeld`` is upstream's.

        Raises:
            InputError: nothing was added.
        """
        if not self.count:
            raise InputError("an image without any prediction has no canonical view")
        maps = self._sums.maps()
        focal = estimate_focal(
            maps.pts3d,
            self._principal_point,
            mode=focal_mode,
            conf=maps.conf,
            min_focal=MIN_FOCAL,
            max_focal=MAX_FOCAL,
        )
        half = self._sums.subsample // 2
        step = self._sums.subsample
        log_focals = torch.tensor(self._log_focals, dtype=torch.float64)
        return CanonicalView(
            shape=self._sums.shape,
            principal_point=self._principal_point,
            focal=focal,
            focal_log_std=float(log_focals.std(correction=0)),
            pts3d=maps.pts3d,
            relative_depth=maps.relative_depth,
            conf=maps.conf,
            core_depth=maps.pts3d[half::step, half::step, 2].clone(),
            subsample=step,
        )


def canonical_view(
    pts3d: Float[Tensor, "m h w 3"],
    conf: Float[Tensor, "m h w"],
    *,
    subsample: int = 8,
    mode: CanonicalMode = "avg-angle",
) -> CanonicalMaps:
    """Average m predictions of one image as its own reference.

    Args:
        pts3d: points in the image's camera frame.
        conf: the network's confidences, at least 1.
        subsample: side of a block in pixels; divides height and width.
        mode: ``avg-angle`` averages the slope of the surface towards the block's centre, ``avg-reldepth`` the
            depths relative to it.
    """
    sums = CanonicalSums((pts3d.shape[1], pts3d.shape[2]), subsample, mode)
    sums.add(pts3d, conf)
    return sums.maps()
