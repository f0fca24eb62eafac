"""Cameras as flat tensors: lifting anchored pixels and projecting points (spec 30 section 6.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: Depths below this project as if they had it; coordinates are clamped to these bounds in pixels.
MIN_PROJECTED_DEPTH = 1e-3
PIXEL_BOUNDS = (-1000.0, 2000.0)


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras of N images.

    Attributes:
        rotation: (N, 3, 3) camera to world.
        center: (N, 3) camera centres in the world.
        focal: (N,) pixels.
        principal_point: (N, 2) pixels.
        base_focal: (N,) canonical focal, to which relative depths refer.
    """

    rotation: Float[Tensor, "N 3 3"]
    center: Float[Tensor, "N 3"]
    focal: Float[Tensor, " N"]
    principal_point: Float[Tensor, "N 2"]
    base_focal: Float[Tensor, " N"]

    @property
    def cam2world(self) -> Float[Tensor, "N 4 4"]:
        """Poses as 4x4 matrices."""
        poses = torch.eye(4).to(self.center).repeat(len(self.center), 1, 1)
        poses[:, :3, :3] = self.rotation
        poses[:, :3, 3] = self.center
        return poses

    @property
    def intrinsics(self) -> Float[Tensor, "N 3 3"]:
        """Calibration matrices."""
        K = torch.eye(3).to(self.focal).repeat(len(self.focal), 1, 1)
        K[:, 0, 0] = K[:, 1, 1] = self.focal
        K[:, :2, 2] = self.principal_point
        return K


def pixel_depth(
    cameras: Cameras,
    anchor_depth: Float[Tensor, " A"],
    image: Int[Tensor, " n"],
    anchor: Int[Tensor, " n"],
    offset: Float[Tensor, " n"],
) -> Float[Tensor, " n"]:
    """Depth of pixels that hang on anchors."""
    stretch = (cameras.base_focal / cameras.focal)[image]
    return anchor_depth[anchor] * (1 + (offset - 1) * stretch)


def to_camera(
    cameras: Cameras, image: Int[Tensor, " n"], xy: Float[Tensor, "n 2"], depth: Float[Tensor, " n"]
) -> Float[Tensor, "n 3"]:
    """Points of pixels with depths, in their camera's frame."""
    rays = (xy - cameras.principal_point[image]) / cameras.focal[image][:, None]
    return torch.cat((rays * depth[:, None], depth[:, None]), -1)


def to_world(
    cameras: Cameras, image: Int[Tensor, " n"], points: Float[Tensor, "n 3"]
) -> Float[Tensor, "n 3"]:
    """Move points from cameras' frames to the world."""
    return (cameras.rotation[image] * points[:, None]).sum(-1) + cameras.center[image]


def to_frame(
    cameras: Cameras, image: Int[Tensor, " n"], points: Float[Tensor, "n 3"]
) -> Float[Tensor, "n 3"]:
    """Move points from the world to cameras' frames."""
    return (cameras.rotation[image] * (points - cameras.center[image])[:, :, None]).sum(1)


def project(cameras: Cameras, image: Int[Tensor, " n"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 2"]:
    """Pixels where images see points of the world, with upstream's clamps."""
    seen = to_frame(cameras, image, points)
    depth = seen[:, 2:]
    scaled = cameras.focal[image][:, None] * seen[:, :2] + cameras.principal_point[image] * depth
    return (scaled / depth.clamp_min(MIN_PROJECTED_DEPTH)).clamp(*PIXEL_BOUNDS)
