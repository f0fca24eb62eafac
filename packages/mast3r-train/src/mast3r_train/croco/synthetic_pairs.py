"""Pairs of views of synthetic scenes as image files, to try pretraining on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image

from mast3r_model import atomic_write
from mast3r_train.datasets.synthetic import SyntheticScenes

_AT_ONCE = 8


def render_pairs(
    folder: Path,
    count: int,
    *,
    size: int = 256,
    seed: int = 0,
    procedural: int = 48,
    track: Callable[[Iterable[Sequence[int]], int], Iterable[Sequence[int]]] | None = None,
) -> None:
    """Write ``<n>_1.jpg`` and ``<n>_2.jpg``: two views of scene n that show much of the same.

    Pairs that are there already are left alone.

    Args:
        folder: made if it is missing.
        count: number of pairs.
        size: side of the images in pixels.
        seed: of the scenes.
        procedural: number of textures; 48 take 5 seconds to make.
        track: wraps the iteration over the groups of pairs for a progress display.
    """
    scenes = SyntheticScenes(
        count,
        seed=seed,
        procedural=procedural,
        resolution=(size, size),
        portrait=0.0,
        covisibility=(0.4, 0.9),
    )
    waiting = [number for number in range(count) if not _file(folder, number, 2).exists()]
    groups: Iterable[Sequence[int]] = [
        waiting[start : start + _AT_ONCE] for start in range(0, len(waiting), _AT_ONCE)
    ]
    if track is not None:
        groups = track(groups, -(-len(waiting) // _AT_ONCE))
    for group in groups:
        views = scenes.batch([(number, 0) for number in group])
        pixels = [((view["img"] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8) for view in views]
        for row, number in enumerate(group):
            for place in range(2):
                image = Image.fromarray(pixels[place][row].permute(1, 2, 0).contiguous().numpy())
                with atomic_write(_file(folder, number, place + 1)) as temporary:
                    image.save(temporary, quality=95)


def _file(folder: Path, number: int, place: int) -> Path:
    return folder / f"{number:06d}_{place}.jpg"
