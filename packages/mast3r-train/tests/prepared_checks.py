"""Checks that the tests of prepared datasets share: true matches, the real command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


def assert_true_matches(dataset: Any, *, footprints: float = 2.0, least: int = 20) -> None:
    """Matches of each pair show the same point of the scene, in space and in colour.

    Args:
        dataset: with ``n_corres`` and ``nneg=0``.
        footprints: of a pixel, by which half of the matches may be apart at most.
        least: matches that a pair has at least.
    """
    for number in range(len(dataset)):
        views = dataset[number]
        matched = np.asarray(views[0]["valid_corres"])
        assert matched.sum() >= least
        pixels = [view["corres"][matched] for view in views]
        points = [view["pts3d"][xy[:, 1], xy[:, 0]] for view, xy in zip(views, pixels, strict=True)]
        colors = [
            view["img"].numpy()[:, xy[:, 1], xy[:, 0]].T for view, xy in zip(views, pixels, strict=True)
        ]
        depth = views[0]["depthmap"][pixels[0][:, 1], pixels[0][:, 0]]
        focal = np.abs(views[0]["camera_intrinsics"][:2, :2]).max()
        apart = np.linalg.norm(points[0] - points[1], axis=1) / (depth / focal)
        assert np.median(apart) < footprints, (
            f"pair {number}: matches are {np.median(apart):.1f} pixels apart"
        )
        differ = np.abs(colors[0] - colors[1]).mean()
        at_random = np.abs(colors[0] - colors[1][np.random.default_rng(0).permutation(len(depth))]).mean()
        assert differ < 0.6 * at_random, (
            f"pair {number}: colours differ by {differ:.3f}, by chance {at_random:.3f}"
        )


def run_mast3r(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the installed command ``mast3r``."""
    command = [Path(sys.executable).with_name("mast3r"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file's size and time, to see what was written again."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
