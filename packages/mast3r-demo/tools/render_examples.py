"""Render the example photos of the page: two sets of views of synthetic scenes, procedural textures only.

    uv run python packages/mast3r-demo/tools/render_examples.py

writes ``room/*.jpg`` and ``yard/*.jpg`` into ``packages/mast3r-demo/src/mast3r_demo/examples``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from mast3r_train.synthetic import render_scene_views

PLACE = Path(__file__).resolve().parents[1] / "src" / "mast3r_demo" / "examples"
SHAPE = (384, 512)
FINER = 2
"""Rendered so many times larger and averaged: smooth edges."""


def main() -> None:
    """Render both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--room-seed", type=int, default=1)
    parser.add_argument("--yard-seed", type=int, default=10)
    parser.add_argument("--views", type=int, default=5)
    parser.add_argument("--quality", type=int, default=82, help="of the JPEG files")
    parser.add_argument("--output", type=Path, default=PLACE)
    options = parser.parse_args()
    for name, seed in (("room", options.room_seed), ("yard", options.yard_seed)):
        views = render_scene_views(
            seed, options.views, path="walk", shape=(SHAPE[0] * FINER, SHAPE[1] * FINER), effects=False
        )
        folder = options.output / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(views.images, 1):
            small = Image.fromarray(pixels).resize((SHAPE[1], SHAPE[0]), Image.Resampling.BOX)
            small.save(folder / f"{number}.jpg", quality=options.quality, optimize=True)


if __name__ == "__main__":
    main()
