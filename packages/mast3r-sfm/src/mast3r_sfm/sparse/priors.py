"""What is known about the cameras beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_model import InputError


@dataclass(frozen=True)
class CameraPriors:
    """Known or likely intrinsics and poses of N images, in network pixels (integers at pixel centres).

    Unknown entries are NaN. A standard deviation of 0 means "keep exactly as given".

    Attributes:
        focal: (N,) float64 focal in pixels, or NaN.
        focal_sigma: (N,) standard deviation of log focal (0.01 is one percent).
        principal_point: (N, 2) (x, y) in pixels, or NaN.
        principal_point_sigma: (N,) standard deviation in pixels.
        cam2world: (N, 4, 4) pose, or NaN; the poses given define the world's frame and scale.
        rotation_sigma: (N,) standard deviation in radians.
        translation_sigma: (N,) standard deviation of the camera's centre, in units of the world.
        intrinsics_group: (N,) int64; images of one group share the focal, and the principal point as a
            fraction of their size. By default every image is its own group.
        scale_known: (N,) bool; the canonical depth of these images is in units of the world already, as that
            of images of a finished scene is: it is not made larger or smaller as a whole.
    """

    focal: Float[Tensor, " N"]
    focal_sigma: Float[Tensor, " N"]
    principal_point: Float[Tensor, "N 2"]
    principal_point_sigma: Float[Tensor, " N"]
    cam2world: Float[Tensor, "N 4 4"]
    rotation_sigma: Float[Tensor, " N"]
    translation_sigma: Float[Tensor, " N"]
    intrinsics_group: Int[Tensor, " N"]
    scale_known: Bool[Tensor, " N"]

    @classmethod
    def build(
        cls,
        count: int,
        *,
        focal: Float[Tensor, " N"] | None = None,
        focal_sigma: Float[Tensor, " N"] | float = 0.0,
        principal_point: Float[Tensor, "N 2"] | None = None,
        principal_point_sigma: Float[Tensor, " N"] | float = 0.0,
        cam2world: Float[Tensor, "N 4 4"] | None = None,
        rotation_sigma: Float[Tensor, " N"] | float = 0.0,
        translation_sigma: Float[Tensor, " N"] | float = 0.0,
        intrinsics_group: Int[Tensor, " N"] | None = None,
        shared_intrinsics: bool = False,
        scale_known: Bool[Tensor, " N"] | None = None,
    ) -> CameraPriors:
        """Priors of ``count`` images; what is left out is unknown.

        Raises:
            InputError: a tensor's shape does not fit ``count``, a standard deviation is negative, or an image
                of known scale has no known pose.
        """
        if intrinsics_group is None:
            intrinsics_group = torch.zeros(count) if shared_intrinsics else torch.arange(count)
        if scale_known is None:
            scale_known = torch.zeros(count, dtype=torch.bool)
        priors = cls(
            focal=_tensor("focal", focal, (count,)),
            focal_sigma=_sigma("focal_sigma", focal_sigma, count),
            principal_point=_tensor("principal_point", principal_point, (count, 2)),
            principal_point_sigma=_sigma("principal_point_sigma", principal_point_sigma, count),
            cam2world=_tensor("cam2world", cam2world, (count, 4, 4)),
            rotation_sigma=_sigma("rotation_sigma", rotation_sigma, count),
            translation_sigma=_sigma("translation_sigma", translation_sigma, count),
            intrinsics_group=_tensor("intrinsics_group", intrinsics_group, (count,)).long(),
            scale_known=_tensor("scale_known", scale_known, (count,)).bool(),
        )
        if bool((priors.scale_known & ~priors.has_pose).any()):
            raise InputError("an image of known scale needs a known pose: both are of one world")
        return priors

    @property
    def has_focal(self) -> Tensor:
        """(N,) bool: the focal is known or likely."""
        return ~self.focal.isnan()

    @property
    def has_principal_point(self) -> Tensor:
        """(N,) bool: the principal point is known or likely."""
        return ~self.principal_point.isnan().any(-1)

    @property
    def has_pose(self) -> Tensor:
        """(N,) bool: the pose is known or likely."""
        return ~self.cam2world.isnan().flatten(1).any(-1)

    def restricted_to(self, images: Sequence[int]) -> CameraPriors:
        """The priors of some images, renumbered in the given order."""
        index = torch.as_tensor(images, dtype=torch.int64)
        return CameraPriors(**{name: values[index] for name, values in vars(self).items()})


def _tensor(name: str, values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if values is None:
        return torch.full(shape, torch.nan, dtype=torch.float64)
    values = torch.as_tensor(values, dtype=torch.float64)
    if tuple(values.shape) != shape:
        raise InputError(f"{name} has shape {tuple(values.shape)}, expected {shape}")
    return values


def _sigma(name: str, values: Tensor | float, count: int) -> Tensor:
    sigma = torch.as_tensor(values, dtype=torch.float64).expand(count).clone()
    if bool((sigma < 0).any()):
        raise InputError(f"{name} holds a negative standard deviation")
    return sigma
