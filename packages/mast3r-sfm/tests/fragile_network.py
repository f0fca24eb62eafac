"""A tiny network that ends its process, or takes its time: imported by the workers of `test_engines`.

``python fragile_network.py CACHE`` predicts all pairs of five images slowly, to be killed meanwhile.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from mast3r_model import (
    AsymmetricMASt3R,
    EncodedImage,
    ImageTransform,
    InputError,
    LoadedImage,
    PairPrediction,
)
from mast3r_sfm.engines.local import LocalEngine
from mast3r_sfm.photos import ImageSet, images_from_loaded
from mast3r_sfm.predictions import PredictionOptions, predict_pairs

PAIRS = list(itertools.combinations(range(5), 2))
OPTIONS = PredictionOptions(batch_size=2, workers=2)


def tiny_network(kind: type[AsymmetricMASt3R] = AsymmetricMASt3R) -> AsymmetricMASt3R:
    """A network with random weights, always the same."""
    torch.manual_seed(0)
    return kind(
        enc_embed_dim=32, enc_depth=2, enc_num_heads=2, dec_embed_dim=32, dec_depth=2, dec_num_heads=2,
        pos_embed="RoPE100", img_size=(64, 64), head_type="nano", output_mode="pts3d+desc8",
        depth_mode=("exp", -float("inf"), float("inf")), conf_mode=("exp", 1, float("inf")),
        desc_mode="norm", two_confs=True, desc_conf_mode=("exp", 0, float("inf")),
        patch_embed_cls="PatchEmbedDust3R", landscape_only=False,
    ).eval()  # fmt: skip


def tiny_images(count: int = 5) -> ImageSet:
    """Noise, always the same."""
    random = np.random.default_rng(0)
    loaded = []
    for index in range(count):
        pixels = random.integers(0, 256, (16, 32, 3), dtype=np.uint8)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
        loaded.append(LoadedImage(tensor, pixels, ImageTransform.identity((16, 32)), Path(f"{index}.png")))
    return images_from_loaded(loaded, [f"{index}.png" for index in range(count)])


class FragileNetwork(AsymmetricMASt3R):
    """Ends its process at the second batch of pairs, unless the file ``marker`` exists: so once."""

    fingerprint = "tiny"
    batches = 0
    behaviour = "die"
    marker = ""

    def decode_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairPrediction]:
        self.batches += 1
        if self.behaviour == "slow":
            time.sleep(0.3)
        elif self.behaviour == "refuse":
            raise InputError("not today", "come back tomorrow")
        elif self.behaviour == "always die" or (self.batches == 2 and _first(self.marker)):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().decode_pairs(features, pairs, batch_size=batch_size)


def _first(marker: str) -> bool:
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    network = tiny_network(FragileNetwork)
    network.behaviour = "slow"
    predict_pairs(network, tiny_images(), PAIRS, cache=sys.argv[1], engine=LocalEngine, options=OPTIONS)
