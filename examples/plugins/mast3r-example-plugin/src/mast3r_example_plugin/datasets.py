"""A dataset: a flat wall with a random pattern, photographed twice from two places beside each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from mast3r_train import DatasetAlgebra
from mast3r_train.transforms import ImgNorm

METRES = 2.0
"""Distance of the wall from both cameras, which look straight at it."""


class SlidingWall(DatasetAlgebra):
    """Pairs whose geometry is known by a sum: the second photo is the first one, moved by whole pixels.

    Args:
        n: number of pairs.
        resolution: (width, height) in pixels, width >= height.
        max_shift: the second photo is moved by 1 to `max_shift` pixels.
        n_corres: known matches per pair.
        seed: of all that is drawn here; an item depends on it and on the item's number only.
        transform: makes the network's input (3, height, width) of an image.
    """

    def __init__(
        self,
        n: int,
        resolution: tuple[int, int] = (64, 48),
        *,
        max_shift: int = 8,
        n_corres: int = 32,
        seed: int = 0,
        transform: Callable[[Image.Image], Tensor] = ImgNorm,
    ) -> None:
        self.n, self.max_shift, self.n_corres, self.seed = n, max_shift, n_corres, seed
        self.resolutions = [resolution]
        self.transform = transform

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int | tuple[int, int]) -> list[dict[str, Any]]:
        """Two views, as the view contract of mast3r-train's README says."""
        item = index[0] if isinstance(index, tuple) else index
        width, height = self.resolutions[0]
        rng = np.random.default_rng([self.seed, item])
        shift = int(rng.integers(1, self.max_shift + 1))
        wall = rng.integers(0, 256, (height, width + shift, 3), dtype=np.uint8)
        x1, y = rng.integers(shift, width, self.n_corres), rng.integers(0, height, self.n_corres)
        views = []
        for number, column in enumerate((0, shift)):
            focal = float(width)
            view = self._geometry(focal, column * METRES / focal)
            view["img"] = self.transform(Image.fromarray(wall[:, column : column + width]))
            view["corres"] = np.stack([x1 - column, y], axis=1)
            view["valid_corres"] = np.ones(self.n_corres, bool)
            view |= {"dataset": "SlidingWall", "label": f"wall {item}", "instance": f"{item}_{number}"}
            view |= {"idx": (item, 0, number), "is_metric_scale": True}
            views.append(view)
        for view in views:
            view["rng"] = int(rng.integers(2**32))
        return views

    def _geometry(self, focal: float, right: float) -> dict[str, Any]:
        """Depth, points and camera of one view; the camera stands `right` metres beside the first."""
        width, height = self.resolutions[0]
        center_x, center_y = (width - 1) / 2, (height - 1) / 2
        y, x = np.mgrid[:height, :width].astype(np.float32)
        points = np.stack([x - center_x, y - center_y, np.full_like(x, focal)], axis=-1) * (METRES / focal)
        cam2world = np.eye(4, dtype=np.float32)
        cam2world[0, 3] = right
        return {
            "depthmap": np.full((height, width), METRES, np.float32),
            "pts3d": points + cam2world[:3, 3],
            "camera_pose": cam2world,
            "camera_intrinsics": np.array(
                [[focal, 0, center_x], [0, focal, center_y], [0, 0, 1]], np.float32
            ),
            "valid_mask": np.ones((height, width), bool),
            "sky_mask": np.zeros((height, width), bool),
            "true_shape": np.array([height, width], np.int32),
        }
