"""Render the scene that ``mast3r quickstart`` ships: photos, true cameras, true depth.

    uv run python packages/mast3r-demo/tools/render_still_life.py

writes photos/*.jpg, transforms.json (nerfstudio's form) and depth.npz into
``packages/mast3r-demo/src/mast3r_demo/quickstart/still_life``. All textures are painted by
``still_life_textures``: no photo or drawing of anybody is in it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from still_life import FIELD_OF_VIEW, make_still_life, walk_around
from still_life_textures import paint_all

from mast3r_train.synthetic import Cameras, SceneBatch, build_bank, intrinsics_for, render

FINER = 2
"""Rendered so many times larger and averaged: smooth edges."""
DEPTH_STEP = 4
"""True depth is kept of every so many-th pixel along both axes."""
OPENGL_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
PLACE = Path(__file__).resolve().parents[1] / "src" / "mast3r_demo" / "quickstart" / "still_life"


def main() -> None:
    """Render it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=6)
    parser.add_argument("--quality", type=int, default=88, help="of the JPEG files")
    parser.add_argument("--output", type=Path, default=PLACE)
    options = parser.parse_args()
    width, height = 320, 240
    textures, images = paint_all()
    bank = build_bank(images)
    batch = SceneBatch.stack([make_still_life(textures)], torch.device("cpu"))
    poses, no_offset = walk_around(options.photos), np.zeros((options.photos, 2))
    angles = np.full(options.photos, np.deg2rad(FIELD_OF_VIEW))
    K = intrinsics_for(angles, (height, width), no_offset)

    def seen(shape: tuple[int, int]):  # type: ignore[no-untyped-def]
        scene = torch.zeros(options.photos, dtype=torch.int64)
        matrices = torch.from_numpy(intrinsics_for(angles, shape, no_offset)).float()
        with torch.no_grad():
            return render(batch, bank, Cameras(scene, matrices, torch.from_numpy(poses).float()), shape)

    fine = seen((height * FINER, width * FINER)).image
    pixels = torch.nn.functional.avg_pool2d(fine, FINER).permute(0, 2, 3, 1).mul(255).round().byte().numpy()
    depth = seen((height, width)).depth[:, ::DEPTH_STEP, ::DEPTH_STEP].numpy()
    (options.output / "photos").mkdir(parents=True, exist_ok=True)
    names = [f"photos/{number}.jpg" for number in range(1, options.photos + 1)]
    for name, photo in zip(names, pixels, strict=True):
        Image.fromarray(photo).save(options.output / name, quality=options.quality, optimize=True)
    frames = [
        {
            "file_path": name,
            "transform_matrix": np.round(pose @ OPENGL_AXES, 8).tolist(),
        }
        for name, pose in zip(names, poses, strict=True)
    ]
    camera = {
        "camera_model": "PINHOLE",
        "w": width,
        "h": height,
        "fl_x": float(K[0, 0, 0]),
        "fl_y": float(K[0, 1, 1]),
    }
    # There, an integer is a pixel's corner.
    camera |= {"cx": float(K[0, 0, 2]) + 0.5, "cy": float(K[0, 1, 2]) + 0.5}
    text = json.dumps({**camera, "frames": frames}, indent=1)
    (options.output / "transforms.json").write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(options.output / "depth.npz", step=DEPTH_STEP, depth=depth.astype(np.float16))


if __name__ == "__main__":
    main()
