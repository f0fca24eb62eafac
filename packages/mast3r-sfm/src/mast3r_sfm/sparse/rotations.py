"""Small rotations and similarity fits, batched."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def exp_rotation(omega: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3 3"]:
    """Rotation matrices of rotation vectors."""
    x, y, z = omega.unbind(-1)
    none = torch.zeros_like(x)
    cross = torch.stack((none, -z, y, z, none, -x, -y, x, none), -1).reshape(*omega.shape[:-1], 3, 3)
    return torch.linalg.matrix_exp(cross)


def log_rotation(rotation: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3"]:
    """Rotation vectors of rotations, through quaternions; stable near none and near half a turn."""
    r = rotation
    trace = r.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True)
    # Four times the products of the quaternion (x, y, z, w) with each of its components.
    rows = torch.stack(
        (
            torch.stack(
                (
                    1 + 2 * r[:, 0, 0] - trace[:, 0],
                    r[:, 0, 1] + r[:, 1, 0],
                    r[:, 0, 2] + r[:, 2, 0],
                    r[:, 2, 1] - r[:, 1, 2],
                ),
                -1,
            ),
            torch.stack(
                (
                    r[:, 0, 1] + r[:, 1, 0],
                    1 + 2 * r[:, 1, 1] - trace[:, 0],
                    r[:, 1, 2] + r[:, 2, 1],
                    r[:, 0, 2] - r[:, 2, 0],
                ),
                -1,
            ),
            torch.stack(
                (
                    r[:, 0, 2] + r[:, 2, 0],
                    r[:, 1, 2] + r[:, 2, 1],
                    1 + 2 * r[:, 2, 2] - trace[:, 0],
                    r[:, 1, 0] - r[:, 0, 1],
                ),
                -1,
            ),
            torch.stack(
                (r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1], 1 + trace[:, 0]),
                -1,
            ),
        ),
        1,
    )
    largest = rows.diagonal(dim1=1, dim2=2).argmax(-1)
    quaternion = rows[torch.arange(len(r), device=r.device), largest]
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    quaternion = torch.where(quaternion[:, 3:] < 0, -quaternion, quaternion)
    sine = quaternion[:, :3].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[:, 3:])
    return quaternion[:, :3] * torch.where(
        sine > 1e-9, angle / sine.clamp_min(1e-30), 2 / quaternion[:, 3:].clamp_min(0.5)
    )


def nearest_rotation(matrix: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3 3"]:
    """The rotation closest to each matrix."""
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.ones_like(matrix[:, 0])
    sign[:, 2] = torch.linalg.det(left @ right)
    return (left * sign[:, None]) @ right


def fit_similarities(
    source: Float[Tensor, "n 3"],
    target: Float[Tensor, "n 3"],
    weight: Float[Tensor, " n"],
    group: Int[Tensor, " n"],
    count: int,
    *,
    rounds: int = 12,
) -> tuple[Float[Tensor, " g"], Float[Tensor, "g 3 3"], Float[Tensor, "g 3"]]:
    """Robust similarity target = scale R source + t for every group of point pairs at once.

    Least sum of distances by reweighting; groups with fewer than three points give what they can.
    """
    base = weight.clone()
    scale = weight.new_ones(count)
    for _ in range(rounds):
        scale, rotation, translation = _weighted_similarities(source, target, weight, group, count)
        moved = scale[group][:, None] * (rotation[group] * source[:, None]).sum(-1) + translation[group]
        distance = (moved - target).norm(dim=-1)
        typical = _group_sum(base * distance, group, count) / _group_sum(base, group, count).clamp_min(1e-30)
        weight = base / distance.clamp_min(1e-30).maximum(1e-3 * typical[group])
    return scale, rotation, translation


def _group_sum(values: Tensor, group: Tensor, count: int) -> Tensor:
    return values.new_zeros(count, *values.shape[1:]).index_add(0, group, values)


def _weighted_similarities(
    source: Tensor, target: Tensor, weight: Tensor, group: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    total = _group_sum(weight, group, count).clamp_min(1e-30)[:, None]
    mean_source = _group_sum(weight[:, None] * source, group, count) / total
    mean_target = _group_sum(weight[:, None] * target, group, count) / total
    centered, aimed = source - mean_source[group], target - mean_target[group]
    outer = _group_sum(weight[:, None, None] * aimed[:, :, None] * centered[:, None], group, count)
    rotation = nearest_rotation(outer)
    spread = _group_sum(weight * centered.square().sum(-1), group, count)
    scale = ((rotation * outer).sum((1, 2)) / spread.clamp_min(1e-30)).clamp_min(1e-6)
    translation = mean_target - scale[:, None] * (rotation * mean_source[:, None]).sum(-1)
    return scale, rotation, translation
