"""The recorded views of train/views: inputs, expected outputs, and a dataset over the inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mast3r_train.views import PairDataset


@dataclass(frozen=True)
class ViewGoldens:
    """``views.json`` and ``views.npz``."""

    cases: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def load(cls, goldens: Callable[[str], Path]) -> ViewGoldens:
        with np.load(goldens("train/views/views.npz"), allow_pickle=False) as stored:
            arrays = dict(stored)
        return cls(json.loads(goldens("train/views/views.json").read_text()), arrays)

    def input(self, name: str) -> tuple[Image.Image, np.ndarray, np.ndarray]:
        """Image, depth and intrinsics of ``<scene>.<view>``."""
        prefix = f"in.{name}."
        return (
            Image.fromarray(self.arrays[prefix + "img"]),
            self.arrays[prefix + "depth"],
            self.arrays[prefix + "K"],
        )


class StoredPair(PairDataset):
    """One pair: both views of a recorded scene."""

    is_metric_scale = True

    def __init__(self, goldens: ViewGoldens, scene: str, *, cropped_by_loader: bool, **options: Any) -> None:
        super().__init__(**options)
        self.goldens = goldens
        self.scene = scene
        self.cropped_by_loader = cropped_by_loader

    def __len__(self) -> int:
        return 1

    def _get_views(
        self, index: int, resolution: tuple[int, int], rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        views = []
        for number in range(2):
            image, depth, K = self.goldens.input(f"{self.scene}.{number}")
            if self.cropped_by_loader:
                image, depth, K = self._crop_resize_if_necessary(image, depth, K, resolution, rng)
            views.append(
                {
                    "img": image,
                    "depthmap": depth,
                    "camera_pose": self.goldens.arrays[f"in.{self.scene}.{number}.pose"],
                    "camera_intrinsics": K,
                    "dataset": "synth",
                    "label": "0",
                    "instance": f"0_{number}",
                }
            )
        return views
