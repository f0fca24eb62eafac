"""What upstream's modes of dense alignment share: the scene's cameras, depths, points and masks."""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_model import InputError
from mast3r_sfm.sparse import clean_pointcloud

from .options import DenseOptions, confidence_weights
from .problem import DenseProblem
from .result import DenseAlignment


class SceneAligner:
    """What all modes share: the scene's cameras, depths, points and masks.

    Attributes:
        imgs: list of (H, W, 3) float32 RGB in [0, 1], or None if the output had no images.
        im_conf: list of (H, W) raw confidences; cleaning lowers them in a copy of the scene.
        min_conf_thr: raw confidence above which `get_masks` is true.
        alignment: the present state as one record; None before `compute_global_alignment`.
    """

    def __init__(self, problem: DenseProblem, options: DenseOptions, *, verbose: bool = True) -> None:
        self.problem = problem
        self.options = options
        self.verbose = verbose
        self.min_conf_thr = options.min_confidence
        self.imgs: list[Float[np.ndarray, "h w 3"]] | None = None
        self.im_conf = list(problem.confidence_maps)
        self.alignment: DenseAlignment | None = None

    @property
    def n_imgs(self) -> int:
        """Number of images."""
        return self.problem.image_count

    @property
    def edges(self) -> list[tuple[int, int]]:
        """(i, j) of every pass of the network, i the reference."""
        return [(i, j) for i, j in self.problem.edges.tolist()]

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return len(self.problem.edges)

    @property
    def imshapes(self) -> list[tuple[int, int]]:
        """(height, width) of every image."""
        return list(self.problem.image_shapes)

    @property
    def is_symmetrized(self) -> bool:
        """Whether every edge's reverse is there."""
        return self.problem.is_symmetrized

    def conf_trf(self, confidence: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The transform from raw confidences to weights."""
        return confidence_weights(torch.as_tensor(confidence), self.options.confidence)

    def get_focals(self) -> Float[Tensor, "images focals"]:
        """(images, 1), or (images, 2) with fx and fy apart; network pixels."""
        intrinsics = self._aligned.intrinsics
        focals = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=-1)
        return focals if (focals[:, 0] != focals[:, 1]).any() else focals[:, :1]

    def get_principal_points(self) -> Float[Tensor, "images 2"]:
        """(x, y), network pixels."""
        return self._aligned.intrinsics[:, :2, 2]

    def get_intrinsics(self) -> Float[Tensor, "images 3 3"]:
        """K, network pixels."""
        return self._aligned.intrinsics

    def get_im_poses(self) -> Float[Tensor, "images 4 4"]:
        """cam2world."""
        return self._aligned.cam2world

    def get_depthmaps(self) -> list[Float[Tensor, "h w"]]:
        """Camera z of every pixel."""
        return list(self._aligned.depths)

    def get_pts3d(self) -> list[Float[Tensor, "h w 3"]]:
        """World points of every pixel."""
        return list(self._aligned.pts3d())

    def get_conf(self) -> list[Float[Tensor, "h w"]]:
        """Transformed confidences."""
        return [self.conf_trf(conf) for conf in self.im_conf]

    def get_masks(self) -> list[Bool[Tensor, "h w"]]:
        """Where the raw confidence exceeds ``min_conf_thr``."""
        return [conf > self.min_conf_thr for conf in self.im_conf]

    def compute_global_alignment(
        self,
        init: Literal["mst", "msp", "known_poses"] | None = None,
        niter_PnP: int = 10,
        **options: Any,
    ) -> float:
        """Solve; see the modes' classes."""
        raise NotImplementedError

    def clean_pointcloud(self, tol: float = 0.001, max_bad_conf: float = 0.0) -> SceneAligner:
        """A copy in which points before another image's surface have lost their confidence (section 7.3)."""
        aligned = self._aligned
        scene = copy.copy(self)
        scene.im_conf = clean_pointcloud(
            self.im_conf,
            aligned.intrinsics,
            aligned.cam2world,
            aligned.depths,
            aligned.pts3d(),
            tolerance=tol,
            bad_conf=max_bad_conf,
        )
        return scene

    def show(self) -> Any:
        """Open a viewer of the masked points (as `trimesh.Scene.show`, in a notebook or with pyglet)."""
        import trimesh

        points = torch.cat([p[mask] for p, mask in zip(self.get_pts3d(), self.get_masks(), strict=True)])
        colors = None
        if self.imgs is not None:
            masks = [mask.cpu().numpy() for mask in self.get_masks()]
            colors = np.concatenate([image[mask] for image, mask in zip(self.imgs, masks, strict=True)])
        cloud: Any = trimesh.PointCloud(points.cpu().numpy(), colors=colors)  # type: ignore[no-untyped-call]
        return trimesh.Scene(cloud).show()

    @property
    def _aligned(self) -> DenseAlignment:
        if self.alignment is None:
            raise InputError(
                "the scene has not been aligned yet", hint="call compute_global_alignment(init='mst') first"
            )
        return self.alignment
