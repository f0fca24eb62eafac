"""Depth maps to points (spec 40 section 3.8)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def camera_points(
    depth: Float[Tensor, "*batch height width"], intrinsics: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch height width 3"]:
    """Points of all pixels in the camera's frame, in the depth's unit.

    Args:
        depth: z of each pixel.
        intrinsics: zero skew, pixel centres at integers.
    """
    height, width = depth.shape[-2:]
    z = depth.double()
    K = intrinsics.double()[..., None, None]
    x = (torch.arange(width, device=depth.device) - K[..., 0, 2, :, :]) * z / K[..., 0, 0, :, :]
    y = (torch.arange(height, device=depth.device)[:, None] - K[..., 1, 2, :, :]) * z / K[..., 1, 1, :, :]
    return torch.stack([x, y, z], dim=-1).to(depth.dtype)


def world_points(
    depth: Float[Tensor, "*batch height width"],
    intrinsics: Float[Tensor, "*batch 3 3"],
    cam2world: Float[Tensor, "*batch 4 4"],
) -> Float[Tensor, "*batch height width 3"]:
    """Points of all pixels in the world's frame; meaningless where the depth is unknown."""
    points = camera_points(depth, intrinsics)
    rotation = cam2world[..., None, :3, :3].transpose(-1, -2)
    return points @ rotation + cam2world[..., None, None, :3, 3]


def camera_points_of_map(
    depth: Float[np.ndarray, "height width"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "height width 3"]:
    """`camera_points` of one depth map in numpy: float32, computed in float64."""
    height, width = depth.shape
    z = depth.astype(np.float64)
    K = np.asarray(intrinsics, dtype=np.float64)
    points = np.empty((height, width, 3), dtype=np.float32)
    points[..., 0] = (np.arange(width) - K[0, 2]) * z / K[0, 0]
    points[..., 1] = (np.arange(height)[:, None] - K[1, 2]) * z / K[1, 1]
    points[..., 2] = depth
    return points


def world_points_of_map(
    depth: Float[np.ndarray, "height width"],
    intrinsics: Float[np.ndarray, "3 3"],
    cam2world: Float[np.ndarray, "4 4"],
) -> Float[np.ndarray, "height width 3"]:
    """`world_points` of one depth map in numpy."""
    pose = np.asarray(cam2world, dtype=np.float32)
    points = times_matrix(camera_points_of_map(depth, intrinsics), pose[:3, :3])
    points += pose[:3, 3]
    return points


_BLOCK = 1 << 14


def times_matrix(
    points: Float[np.ndarray, "*shape 3"], matrix: Float[np.ndarray, "rows 3"]
) -> Float[np.ndarray, "*shape rows"]:
    """``points @ matrix.T`` for many points.

    In blocks that BLAS gives to one thread: in data workers its threads only wait for one another, which was
    measured to cost twenty times the product itself.
    """
    flat = points.reshape(-1, points.shape[-1])
    transposed = np.ascontiguousarray(matrix.T)
    product = np.empty((len(flat), matrix.shape[0]), dtype=np.result_type(points, matrix))
    for start in range(0, len(flat), _BLOCK):
        part = slice(start, start + _BLOCK)
        np.matmul(flat[part], transposed, out=product[part])
    return product.reshape(*points.shape[:-1], matrix.shape[0])


def columns_times_matrix(
    points: Float[np.ndarray, "*shape 3"], matrix: Float[np.ndarray, "rows 3"]
) -> Float[np.ndarray, "rows points"]:
    """The transpose of `times_matrix`, flattened: each coordinate in one piece, for arithmetic on it."""
    flat = points.reshape(-1, points.shape[-1])
    product = np.empty((matrix.shape[0], len(flat)), dtype=np.result_type(points, matrix))
    for start in range(0, len(flat), _BLOCK):
        part = slice(start, start + _BLOCK)
        product[:, part] = matrix @ flat[part].T
    return product
