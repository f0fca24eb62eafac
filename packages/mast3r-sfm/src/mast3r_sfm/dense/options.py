"""Choices of the dense alignment's loss, and which cameras are known beforehand (spec 30 section 9.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_model import InputError
from mast3r_sfm.canonical import FocalMode

Distance: TypeAlias = Literal["l1", "l2"]
"""``l1``: the residual's norm times its weight; ``l2``: the squared norm times its weight."""

ConfidenceTransform: TypeAlias = Literal["log", "sqrt", "m1", "id"]
"""How a raw confidence c becomes a weight: log c, sqrt c, c - 1, c."""

Normalization: TypeAlias = Literal["pixels", "edges"]
"""``pixels``: by the sum of all edges' areas (PointCloudOptimizer); ``edges``: mean over edges of each one's
mean over its pixels (ModularPointCloudOptimizer). The same when all images have one size."""


@dataclass(frozen=True)
class DenseOptions:
    """The dense alignment's model and loss.

    Attributes:
        distance: of a point from where its edge puts it.
        confidence: transform from raw confidence to weight.
        normalization: of the loss.
        min_confidence: raw confidence above which a pixel takes part in PnP (upstream's ``min_conf_thr``).
        base_scale: geometric mean of the edges' scales, if ``normalize_scale``; the world's unit is then
            the network's divided by this.
        normalize_scale: keep that mean, which keeps the scene from shrinking to a point. None: do so unless
            two or more camera poses are known.
        allow_adaptors: let every edge stretch its depth against its width, too.
        adaptor_break: adaptors are divided by it (upstream's ``pw_break``).
        focal_break: a focal is exp(parameter / focal_break).
        optimize_principal_points: let them move.
        separate_focals: fx and fy apart.
        focal_mode: how a focal is first estimated from a pointmap, see `canonical.estimate_focal`.
        max_points: points handled at once; bounds memory, not the result.
    """

    distance: Distance = "l1"
    confidence: ConfidenceTransform = "log"
    normalization: Normalization = "pixels"
    min_confidence: float = 3.0
    base_scale: float = 0.5
    normalize_scale: bool | None = None
    allow_adaptors: bool = False
    adaptor_break: float = 20.0
    focal_break: float = 20.0
    optimize_principal_points: bool = False
    separate_focals: bool = False
    focal_mode: FocalMode = "robust"
    max_points: int = 1 << 22

    def __post_init__(self) -> None:
        for name, value, known in (
            ("distance", self.distance, ("l1", "l2")),
            ("confidence", self.confidence, ("log", "sqrt", "m1", "id")),
            ("normalization", self.normalization, ("pixels", "edges")),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}, expected one of {', '.join(known)}")


def confidence_weights(
    confidence: Float[Tensor, "*shape"], transform: ConfidenceTransform
) -> Float[Tensor, "*shape"]:
    """Weights of raw confidences; 0 where the confidence is not positive (padding), never negative there.

    Raw confidences of DUSt3R and MASt3R are at least 1, for which all transforms give weights >= 0.
    """
    positive = confidence > 0
    safe = torch.where(positive, confidence, 1)
    transforms: dict[str, Callable[[Tensor], Tensor]] = {
        "log": torch.log,
        "sqrt": torch.sqrt,
        "m1": lambda conf: conf - 1,
        "id": lambda conf: conf,
    }
    weights = transforms[transform](safe)
    return torch.where(positive, weights, 0)


@dataclass(frozen=True, eq=False)
class KnownCameras:
    """Cameras that are given and stay as they are. NaN marks what is not known.

    Attributes:
        cam2world: (images, 4, 4).
        focals: (images, 2) fx, fy in network pixels.
        principal_points: (images, 2) network pixels.
    """

    cam2world: Float[Tensor, "images 4 4"]
    focals: Float[Tensor, "images 2"]
    principal_points: Float[Tensor, "images 2"]

    @classmethod
    def none(cls, images: int, device: torch.device | str = "cpu") -> KnownCameras:
        """Nothing is known."""
        return cls(
            *(torch.full((images, *shape), torch.nan, device=device) for shape in ((4, 4), (2,), (2,)))
        )

    @classmethod
    def from_arrays(
        cls,
        images: int,
        *,
        cam2world: dict[int, Tensor] | None = None,
        intrinsics: dict[int, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> KnownCameras:
        """From (4, 4) poses and (3, 3) intrinsics in network pixels of some images."""
        known = cls.none(images, device)
        for image, pose in (cam2world or {}).items():
            known.cam2world[image] = pose.to(known.cam2world)
        for image, matrix in (intrinsics or {}).items():
            known.focals[image] = torch.stack([matrix[0, 0], matrix[1, 1]]).to(known.focals)
            known.principal_points[image] = matrix[:2, 2].to(known.principal_points)
        return known

    def to(self, device: torch.device | str) -> KnownCameras:
        """The same on another device."""
        return KnownCameras(
            self.cam2world.to(device), self.focals.to(device), self.principal_points.to(device)
        )

    @property
    def has_pose(self) -> Bool[Tensor, " images"]:
        """Which images' poses are known."""
        return self.cam2world.isfinite().all(dim=-1).all(dim=-1)

    @property
    def has_focal(self) -> Bool[Tensor, " images"]:
        """Which images' focals are known."""
        return self.focals.isfinite().all(dim=-1)

    @property
    def has_principal_point(self) -> Bool[Tensor, " images"]:
        """Which images' principal points are known."""
        return self.principal_points.isfinite().all(dim=-1)
