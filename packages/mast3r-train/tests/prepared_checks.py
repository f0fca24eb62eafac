"""Checks that the tests of prepared datasets share: true matches, the real command."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mast3r_model.cli import root, run


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


def assert_depth_of_raw(depth: np.ndarray, K: np.ndarray, raw: Any) -> None:
    """A prepared depth map, with its intrinsics, holds the raw view's depth at the same rays.

    Args:
        depth: prepared.
        K: its intrinsics.
        raw: a `StandinView`.
    """
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(np.asarray(K, np.float64)).T @ raw.K.T
    x, y = rays[..., 0], rays[..., 1]
    last = raw.depth.shape[1] - 1, raw.depth.shape[0] - 1
    # Around the ray's place: which pixel is the nearest one is up to the scaling's rounding.
    around = [
        raw.depth[
            np.clip(np.rint(y + dy), 0, last[1]).astype(int), np.clip(np.rint(x + dx), 0, last[0]).astype(int)
        ]
        for dy in (-0.5, 0.5)
        for dx in (-0.5, 0.5)
    ]
    low, high = np.min(around, axis=0), np.max(around, axis=0)
    inside = (depth >= low * 0.998) & (depth <= high * 1.002)
    assert inside.mean() > 0.98, f"{inside.mean():.0%} of the pixels have the raw depth"


class Ended(NamedTuple):
    """How a command ended: exit code, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run_mast3r(*arguments: object) -> Ended:
    """Run the program ``mast3r`` in this process: a new one only imports the same for seconds."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        code = run(root(), [str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), errors.getvalue())


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file's size and time, to see what was written again."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
