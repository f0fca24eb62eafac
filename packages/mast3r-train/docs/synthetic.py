"""The picture of synthetic scenes in the README, and the rate at which they are rendered.

    uv run python packages/mast3r-train/docs/synthetic.py

writes ``synthetic.jpg`` beside this file and prints pairs per second of processor time on one thread.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

from mast3r_train import SyntheticScenes

PAIRS, WIDTH, HEIGHT = 6, 160, 128


def draw(picture: Path) -> None:
    """A column per pair: view 1, view 2, depth of view 1."""
    scenes = SyntheticScenes(seed=3, split="example", resolution=(WIDTH, HEIGHT), portrait=0.0)
    view1, view2 = scenes.batch([(index, 0) for index in range(PAIRS)])
    rows = []
    for view in (view1, view2):
        pixels = ((view["img"] + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        rows.append(np.concatenate(list(pixels), axis=1))
    nearness = np.concatenate([_nearness(depth) for depth in view1["depthmap"].numpy()], axis=1)
    rows.append((matplotlib.colormaps["turbo"](nearness)[..., :3] * 255).astype(np.uint8))
    rows[2][nearness < 0] = 0
    Image.fromarray(np.concatenate(rows)).save(picture, quality=85)


def _nearness(depth: np.ndarray) -> np.ndarray:
    """1 for the nearest pixel, towards 0 for far ones; -1 where the depth is unknown or sky."""
    return np.where(depth > 0, depth[depth > 0].min() / np.maximum(depth, 1e-6), -1.0)


def measure(batch: int = 16, batches: int = 6) -> float:
    """Pairs per second of processor time, on one thread, textures loaded before."""
    torch.set_num_threads(1)
    scenes = SyntheticScenes(resolution=(WIDTH, HEIGHT), n_corres=1024, nneg=0.3)
    scenes.batch([(index, 0) for index in range(batch)])
    began = time.process_time()
    for number in range(1, batches + 1):
        scenes.batch([(number * batch + index, 0) for index in range(batch)])
    return batches * batch / (time.process_time() - began)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".jpg"))
    sys.stdout.write(f"{measure():.1f} pairs of {WIDTH}x{HEIGHT} per second of processor time\n")
