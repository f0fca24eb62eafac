"""A dataset and a command for the tests of the loop: pairs of views of a textured plane.

``python loop_toy_pairs.py --train_dataset "ToyPairs(6)" ...`` is ``mast3r train`` with it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from mast3r_model import hookimpl
from mast3r_model.plugins import temporary_plugin
from mast3r_train.datasets.algebra import DatasetAlgebra

HEIGHT, WIDTH, MATCHES = 32, 48, 16

MODEL = (
    "AsymmetricMASt3R(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(32, 48), "
    "head_type='nano', output_mode='pts3d+desc8', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=32, enc_depth=1, enc_num_heads=2, dec_embed_dim=32, dec_depth=2, dec_num_heads=2, "
    "two_confs=True, desc_conf_mode=('exp', 0, inf))"
)

CRITERION = (
    "ConfLoss(Regr3D(L21, norm_mode='?avg_dis'), alpha=0.2) + 0.075*ConfMatchingLoss("
    "MatchingLoss(InfoNCE(mode='proper', temperature=0.05)), alpha=10.0, confmode='mean')"
)


class ToyPairs(DatasetAlgebra):
    """``length`` pairs of views of a plane that faces the camera, shifted sideways between the two.

    Args:
        length: number of pairs.
        noise: strength of noise from torch's global generator, as a transform's.
        nan_at: the item whose image holds a NaN.
        delay: seconds that an item takes to make.
    """

    def __init__(
        self, length: int, *, noise: float = 0.0, nan_at: int | None = None, delay: float = 0.0
    ) -> None:
        self.length = length
        self.delay = delay
        self.noise = noise
        self.nan_at = nan_at
        self.resolutions = [(WIDTH, HEIGHT)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> list[dict[str, Any]]:
        number = index[0] if isinstance(index, tuple) else index
        time.sleep(self.delay)
        rng = np.random.default_rng(number)
        texture = rng.uniform(-1, 1, (3, HEIGHT, WIDTH + 8)).astype(np.float32)
        depth = np.float32(rng.uniform(1, 3))
        x1 = rng.integers(8, WIDTH, MATCHES)
        y = rng.integers(0, HEIGHT, MATCHES)
        matches = [np.stack([x1, y], axis=1), np.stack([x1 - 8, y], axis=1)]
        views = [self._view(number, place, texture, depth, matches[place]) for place in range(2)]
        if number == self.nan_at:
            views[0]["img"][:, 3, 4] = torch.nan
        return views

    def _view(self, number: int, place: int, texture: Any, depth: np.float32, matches: Any) -> dict[str, Any]:
        v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        points = np.stack([(u + 8 * place) * depth / 50, v * depth / 50, np.full_like(u, depth)], axis=-1)
        pose = np.eye(4, dtype=np.float32)
        pose[0, 3] = 8 * place * depth / 50
        image = torch.from_numpy(texture[:, :, 8 * place : 8 * place + WIDTH].copy())
        return {
            "img": image + self.noise * torch.randn(image.shape) if self.noise else image,
            "pts3d": points,
            "valid_mask": np.ones((HEIGHT, WIDTH), dtype=bool),
            "sky_mask": np.zeros((HEIGHT, WIDTH), dtype=bool),
            "camera_pose": pose,
            "true_shape": np.array([HEIGHT, WIDTH], dtype=np.int32),
            "corres": matches,
            "valid_corres": np.ones(MATCHES, dtype=bool),
            "is_metric_scale": True,
            "dataset": "toy",
            "label": str(number),
            "instance": f"{number}_{place}",
            "idx": (number, 0, place),
            "rng": number,
        }


class BatchedToyPairs(ToyPairs):
    """The same, a batch at a time."""

    def batch(self, items: Sequence[tuple[int, int]]) -> tuple[dict[str, Any], dict[str, Any]]:
        from mast3r_train.batches import collate

        view1, view2 = collate([self[item] for item in items])
        view1["batched"] = view2["batched"] = [True] * len(items)
        return view1, view2


PLUGIN = SimpleNamespace(
    mast3r_datasets=hookimpl(
        lambda: {"ToyPairs": ToyPairs, "BatchedToyPairs": BatchedToyPairs}, specname="mast3r_datasets"
    )
)


if __name__ == "__main__":
    from mast3r_train.cli import main

    torch.set_num_threads(1)
    with temporary_plugin(PLUGIN, "toy-pairs"):
        sys.exit(main())
