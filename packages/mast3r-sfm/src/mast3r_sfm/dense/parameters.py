"""What the dense alignment optimises, in upstream's encoding, and the cameras and points it stands for.

Poses are rows (quaternion XYZW, signed-log translation[, log scale]); a focal is exp(p / focal_break); a
principal point is the image's centre + 10 p; depths are logarithms (spec 30 sections 9.1, 9.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from .options import DenseOptions
from .problem import DenseProblem

PRINCIPAL_POINT_UNIT = 10.0  # pixels that one unit of the parameter stands for


# A rotation's nine entries from the 16 products of the quaternion's (x, y, z, w) with themselves: three
# operations where roma.unitquat_to_rotmat takes some thirty, which count in a loop over small tensors.
_ROTATION_OF_PRODUCTS = (
    # R00 R01 R02 R10 R11 R12 R20 R21 R22
    (+1, 0, 0, 0, -1, 0, 0, 0, -1),  # xx
    (0, 1, 0, 1, 0, 0, 0, 0, 0),  # xy
    (0, 0, 1, 0, 0, 0, 1, 0, 0),  # xz
    (0, 0, 0, 0, 0, -1, 0, 1, 0),  # xw
    (0, 1, 0, 1, 0, 0, 0, 0, 0),  # yx
    (-1, 0, 0, 0, +1, 0, 0, 0, -1),  # yy
    (0, 0, 0, 0, 0, 1, 0, 1, 0),  # yz
    (0, 0, 1, 0, 0, 0, -1, 0, 0),  # yw
    (0, 0, 1, 0, 0, 0, 1, 0, 0),  # zx
    (0, 0, 0, 0, 0, 1, 0, 1, 0),  # zy
    (-1, 0, 0, 0, -1, 0, 0, 0, +1),  # zz
    (0, -1, 0, 1, 0, 0, 0, 0, 0),  # zw
    (0, 0, 0, 0, 0, -1, 0, 1, 0),  # wx
    (0, 0, 1, 0, 0, 0, -1, 0, 0),  # wy
    (0, -1, 0, 1, 0, 0, 0, 0, 0),  # wz
    (+1, 0, 0, 0, +1, 0, 0, 0, +1),  # ww
)


@dataclass(frozen=True, eq=False)
class DenseParameters:
    """The free variables, one tensor a kind.

    Attributes:
        pairwise: (edges, 8) quaternion XYZW, signed-log translation, log scale of every edge.
        adaptors: (edges, 2) stretch of every edge's width and depth.
        poses: (images, 7) quaternion XYZW, signed-log translation.
        focals: (images, 1) or, with separate fx and fy, (images, 2).
        principal_points: (images, 2).
        log_depths: (images, samples).
    """

    pairwise: Float[Tensor, "edges 8"]
    adaptors: Float[Tensor, "edges 2"]
    poses: Float[Tensor, "images 7"]
    focals: Float[Tensor, "images focals"]
    principal_points: Float[Tensor, "images 2"]
    log_depths: Float[Tensor, "images samples"]

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All of them, in the order of the fields."""
        return (
            self.pairwise,
            self.adaptors,
            self.poses,
            self.focals,
            self.principal_points,
            self.log_depths,
        )


def signed_log(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sgn(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def signed_exp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sgn(x) (exp|x| - 1), the inverse of `signed_log`."""
    return x.sign() * x.abs().expm1()


def encode_poses(
    rotation: Float[Tensor, "*n 3 3"], translation: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n 7"]:
    """Rows of quaternion XYZW and signed-log translation."""
    return torch.cat([roma.rotmat_to_unitquat(rotation), signed_log(translation)], dim=-1)


def decode_poses(rows: Float[Tensor, "*n k"]) -> tuple[Float[Tensor, "*n 3 3"], Float[Tensor, "*n 3"]]:
    """Rotations and translations of rows; quaternions may have any length, a log scale is ignored."""
    quaternion = torch.nn.functional.normalize(rows[..., :4], dim=-1)
    products = (quaternion[..., :, None] * quaternion[..., None, :]).flatten(-2)
    rotation = products @ _rotation_of_products(rows.dtype, rows.device)
    return rotation.reshape(*rows.shape[:-1], 3, 3), signed_exp(rows[..., 4:7])


@lru_cache(maxsize=8)
def _rotation_of_products(dtype: torch.dtype, device: torch.device) -> Float[Tensor, "16 9"]:
    return torch.tensor(_ROTATION_OF_PRODUCTS, dtype=dtype, device=device)


def pairwise_scales(parameters: DenseParameters, options: DenseOptions) -> Float[Tensor, " edges"]:
    """Every edge's scale from the network's unit to the world's."""
    logs = parameters.pairwise[:, 7]
    if options.normalize_scale is not False:
        logs = logs - logs.mean() + math.log(options.base_scale)
    return logs.exp()


def pairwise_maps(
    parameters: DenseParameters, options: DenseOptions
) -> tuple[Float[Tensor, "edges 3 3"], Float[Tensor, "edges 3"]]:
    """Linear part and offset of each edge's map from the reference camera's frame into the world.

    The scale multiplies rotation and translation alike: x -> scale * (R x + T).
    """
    rotation, translation = decode_poses(parameters.pairwise)
    scale = pairwise_scales(parameters, options)
    linear = scale[:, None, None] * rotation
    if options.allow_adaptors:
        width, depth = parameters.adaptors.unbind(-1)
        stretch = torch.stack([width, width, depth], dim=-1)
        stretch = (stretch - stretch.mean(dim=-1, keepdim=True)) / options.adaptor_break
        linear = linear * stretch.exp()[:, None, :]
    return linear, scale[:, None] * translation


def camera_matrices(parameters: DenseParameters) -> Float[Tensor, "images 4 4"]:
    """cam2world of every image."""
    rotation, translation = decode_poses(parameters.poses)
    matrices = torch.eye(4, device=rotation.device, dtype=rotation.dtype).repeat(len(rotation), 1, 1)
    matrices[:, :3, :3] = rotation
    matrices[:, :3, 3] = translation
    return matrices


def focal_lengths(parameters: DenseParameters, options: DenseOptions) -> Float[Tensor, "images 2"]:
    """fx and fy of every image, network pixels."""
    return (parameters.focals / options.focal_break).exp().expand(-1, 2)


def principal_points(parameters: DenseParameters, problem: DenseProblem) -> Float[Tensor, "images 2"]:
    """Principal point (x, y) of every image, network pixels."""
    return problem.centers + PRINCIPAL_POINT_UNIT * parameters.principal_points


def intrinsic_matrices(
    parameters: DenseParameters, problem: DenseProblem, options: DenseOptions
) -> Float[Tensor, "images 3 3"]:
    """K of every image, network pixels."""
    focals, centers = focal_lengths(parameters, options), principal_points(parameters, problem)
    matrices = torch.eye(3, device=focals.device, dtype=focals.dtype).repeat(len(focals), 1, 1)
    matrices[:, 0, 0], matrices[:, 1, 1] = focals[:, 0], focals[:, 1]
    matrices[:, :2, 2] = centers
    return matrices


def world_points(
    parameters: DenseParameters, problem: DenseProblem, options: DenseOptions
) -> Float[Tensor, "images 3 samples"]:
    """Every image's samples, lifted by its depths and camera into the world."""
    focals, centers = focal_lengths(parameters, options), principal_points(parameters, problem)
    rays = (problem.pixels - centers[:, :, None]) / focals[:, :, None]
    rays = torch.cat([rays, torch.ones_like(rays[:, :1])], dim=1)
    rotation, translation = decode_poses(parameters.poses)
    local = rays * parameters.log_depths.exp()[:, None]
    return torch.baddbmm(translation[:, :, None], rotation, local)
