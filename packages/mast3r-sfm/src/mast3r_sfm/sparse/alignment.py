"""The result of sparse alignment (spec 30 section 7.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .cameras import Cameras, pixel_depth, to_camera, to_world
from .problem import SparseProblem


@dataclass(frozen=True)
class StageReport:
    """What one stage of a solver did.

    Attributes:
        name: ``coarse`` or ``fine``.
        losses: total loss before every step, and for the second-order solver the last one after it.
        seconds: wall clock.
    """

    name: str
    losses: Float[Tensor, " steps"]
    seconds: float


@dataclass(frozen=True)
class Alignment:
    """Cameras and anchor depths of N images in one world frame; float64, network pixels.

    Attributes:
        intrinsics: (N, 3, 3) pixels, integers at pixel centres.
        cam2world: (N, 4, 4).
        anchor_depth: (A,) camera z of the problem's anchors.
        base_focal: (N,) focals to which relative depths refer.
        stages: one report per stage.
        solver: the one that made it.
    """

    intrinsics: Float[Tensor, "N 3 3"]
    cam2world: Float[Tensor, "N 4 4"]
    anchor_depth: Float[Tensor, " A"]
    base_focal: Float[Tensor, " N"]
    stages: tuple[StageReport, ...]
    solver: str

    @classmethod
    def from_cameras(
        cls, cameras: Cameras, anchor_depth: Tensor, stages: list[StageReport], solver: str
    ) -> Alignment:
        """Wrap a solver's last state."""
        return cls(
            intrinsics=cameras.intrinsics.detach().double(),
            cam2world=cameras.cam2world.detach().double(),
            anchor_depth=anchor_depth.detach().double(),
            base_focal=cameras.base_focal.detach().double(),
            stages=tuple(stages),
            solver=solver,
        )

    @property
    def cameras(self) -> Cameras:
        """The cameras in the form that the geometry functions take."""
        return Cameras(
            rotation=self.cam2world[:, :3, :3],
            center=self.cam2world[:, :3, 3],
            focal=self.intrinsics[:, 0, 0],
            principal_point=self.intrinsics[:, :2, 2],
            base_focal=self.base_focal,
        )

    @property
    def final_loss(self) -> float:
        """Loss of the last stage."""
        return float(self.stages[-1].losses[-1])

    def match_points(self, problem: SparseProblem) -> Float[Tensor, "2 M 3"]:
        """World points of both ends of all matches of the problem that was solved."""
        image, anchor = problem.image.reshape(-1), problem.anchor.reshape(-1)
        cameras = self.cameras
        depth = pixel_depth(cameras, self.anchor_depth, image, anchor, problem.offset.reshape(-1).double())
        xy = problem.xy.reshape(-1, 2).double()
        points = to_world(cameras, image, to_camera(cameras, image, xy, depth))
        return points.reshape(2, -1, 3)

    def to(self, device: torch.device | str) -> Alignment:
        """The same result with its tensors on a device."""
        names = ("intrinsics", "cam2world", "anchor_depth", "base_focal")
        moved = {name: getattr(self, name).to(device) for name in names}
        return Alignment(**moved, stages=self.stages, solver=self.solver)
