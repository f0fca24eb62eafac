"""Render the two example photos, and what is true about them.

    uv run python examples/render.py

writes ``a.jpg`` and ``b.jpg`` (two views of a synthetic scene, procedural textures only) and ``truth.npz``
(depth in metres, intrinsics, cam2world of both) beside this file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mast3r_train import SyntheticScenes


def main() -> None:
    """Render one pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--index", type=int, default=17)
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    scenes = SyntheticScenes(
        1_000,
        seed=options.seed,
        split="example",
        resolution=(640, 480),
        portrait=0.0,
        covisibility=(0.6, 0.85),
        holes=False,
    )
    views = scenes.batch([(options.index, 0)])
    truth = {}
    for number, (name, view) in enumerate(zip("ab", views, strict=True)):
        pixels = ((view["img"][0] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(options.output / f"{name}.jpg", quality=92)
        truth[f"depth{number}"] = view["depthmap"][0].numpy().astype(np.float16)
        truth[f"intrinsics{number}"] = view["camera_intrinsics"][0].numpy()
        truth[f"cam2world{number}"] = view["camera_pose"][0].numpy()
    np.savez_compressed(options.output / "truth.npz", **truth)


if __name__ == "__main__":
    main()
