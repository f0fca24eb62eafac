"""Matching one pair as reconstruction needs it: our plan against the plain method, in one run.

The work is spec 20 section 5.1: four reciprocal walks (both decodings of a pair, from both images) at
subsample 8 on 512x384 descriptor maps of 24 values. The plain method is section 3 as written: every step of
every walk asks a fresh dense search, tile by tile, with the column maxima that nobody reads. Both must give
the same matches.

    python benchmarks/matching_walks.py
    python benchmarks/matching_walks.py --exact    # also: all mutual pairs of 512x384, and its peak memory
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mast3r_match import DescriptorMaps, MatchOptions, match_symmetric, nearest_neighbors

Result = TypeVar("Result")
PLAIN_TILE = 8192


def plain_nearest(queries: Tensor, database: Tensor, tile: int = PLAIN_TILE) -> tuple[Tensor, Tensor]:
    """Spec 20 section 2: tiles of scores, with the best of every row and of every column."""
    row_score = torch.full((len(queries),), -torch.inf)
    column_score = torch.full((len(database),), -torch.inf)
    row_index = torch.full((len(queries),), -1, dtype=torch.int64)
    column_index = torch.full((len(database),), -1, dtype=torch.int64)
    for i in range(0, len(queries), tile):
        for j in range(0, len(database), tile):
            scores = queries[i : i + tile] @ database[j : j + tile].T
            for axis, offset, start, best, index in (
                (1, j, i, row_score, row_index),
                (0, i, j, column_score, column_index),
            ):
                found = scores.max(axis)
                part = slice(start, start + len(found.values))
                better = found.values > best[part]
                best[part][better] = found.values[better]
                index[part][better] = found.indices[better] + offset
    return row_index, column_index


def plain_walk(map1: Tensor, map2: Tensor, step: int, round_trips: int = 10) -> tuple[Tensor, Tensor]:
    """Spec 20 section 3.3 with a grid of seeds: flat pixels of exact mutual nearest neighbours."""
    height, width, dim = map1.shape
    flat1, flat2 = map1.reshape(-1, dim), map2.reshape(-1, dim)
    rows, columns = torch.arange(step // 2, height, step), torch.arange(step // 2, width, step)
    u = (rows[:, None] * width + columns).flatten()
    v = torch.full_like(u, -1)
    u_before, v_before, active = u.clone(), v.clone(), torch.ones_like(u, dtype=torch.bool)
    for _ in range(round_trips):
        if not active.any():
            break
        v[active] = plain_nearest(flat1[u[active]], flat2)[0]
        active &= v != v_before
        u[active] = plain_nearest(flat2[v[active]], flat1)[0]
        active &= u != u_before
        u_before, v_before = u.clone(), v.clone()
    return u[~active], v[~active]


def plain_correspondences(passes: list[DescriptorMaps], step: int) -> tuple[np.ndarray, np.ndarray]:
    """Spec 20 section 5.1: unique pairs (flat pixel of image 0, of image 1), sorted, and confidences."""
    pixels, confidence = [], []
    for maps in passes:
        u, v = plain_walk(maps.descriptors0, maps.descriptors1, step)
        b, a = plain_walk(maps.descriptors1, maps.descriptors0, step)
        found = torch.stack([torch.cat([u, a]), torch.cat([v, b])], 1)
        product = maps.confidence0.flatten()[found[:, 0]] * maps.confidence1.flatten()[found[:, 1]]
        pixels.append(found.numpy())
        confidence.append(product.sqrt().numpy())
    unique, first = np.unique(np.concatenate(pixels), axis=0, return_index=True)
    return unique, np.concatenate(confidence)[first]


def synthetic_passes(height: int, width: int, dim: int = 24, seed: int = 0) -> list[DescriptorMaps]:
    """Two decodings of a pair whose second image shows the first one's smooth field shifted and stretched."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    warped = torch.stack([0.9 * x + 0.1 + 0.03 * torch.sin(3 * y), 0.95 * y - 0.05], -1)
    field = sum(
        torch.nn.functional.interpolate(
            torch.randn(1, dim, height // cell, width // cell, generator=generator),
            (height, width),
            mode="bicubic",
        )
        for cell in (8, 32)
    )
    assert isinstance(field, Tensor)
    moved = torch.nn.functional.grid_sample(
        field, warped[None], align_corners=True, padding_mode="reflection"
    )

    def descriptors(values: Tensor) -> Tensor:
        noisy = values[0] + 0.15 * torch.randn(values[0].shape, generator=generator)
        return torch.nn.functional.normalize(noisy, dim=0).permute(1, 2, 0).contiguous()

    def confidence() -> Tensor:
        return 1 + torch.rand(height, width, generator=generator)

    return [
        DescriptorMaps(descriptors(field), descriptors(moved), confidence(), confidence()) for _ in range(2)
    ]


def timed(function: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds and result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def peak_memory_mib() -> float:
    """Largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def machine() -> str:
    """Commit, processor and versions, for the record."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"commit {commit or 'unknown'}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=(384, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--subsample", type=int, default=8)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours, the best counts")
    parser.add_argument("--skip-plain", action="store_true", help="ours only")
    parser.add_argument("--exact", action="store_true", help="time all mutual pairs too")
    return parser.parse_args()


def report(line: str) -> None:
    """One line on standard output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run both and print the comparison."""
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    height, width = arguments.size
    passes = synthetic_passes(height, width)
    before = peak_memory_mib()
    report(f"four walks, {width}x{height}, subsample {arguments.subsample}; {machine()}")
    options = MatchOptions(subsample=arguments.subsample)
    runs = [timed(lambda: match_symmetric(passes, options=options)) for _ in range(arguments.repeat)]
    ours, found = min(runs, key=lambda run: run[0])
    report(
        f"ours   {ours:8.2f} s   {len(found.confidence)} matches, "
        f"peak memory +{peak_memory_mib() - before:.0f} MiB"
    )
    if not arguments.skip_plain:
        seconds, (pairs, confidence) = timed(lambda: plain_correspondences(passes, arguments.subsample))
        peak = peak_memory_mib()
        report(f"plain  {seconds:8.2f} s   {len(confidence)} matches, peak memory {peak:.0f} MiB in all")
        flat = torch.stack([xy[:, 1] * width + xy[:, 0] for xy in (found.xy0, found.xy1)], 1).numpy()
        same = np.array_equal(flat, pairs) and np.allclose(found.confidence.numpy(), confidence, rtol=1e-6)
        report(f"ratio  {seconds / ours:8.1f}     match lists {'equal' if same else 'DIFFER'}")
    if arguments.exact:
        maps = passes[0]
        before = peak_memory_mib()
        seconds, tables = timed(
            lambda: nearest_neighbors(
                maps.descriptors0.flatten(0, 1), maps.descriptors1.flatten(0, 1), both_directions=True
            )
        )
        assert tables.column_index is not None
        mutual = tables.column_index[tables.row_index] == torch.arange(height * width)
        report(
            f"exact  {seconds:8.2f} s   {int(mutual.sum())} mutual pairs of all pixels, "
            f"peak memory {peak_memory_mib():.0f} MiB in all"
        )


if __name__ == "__main__":
    main()
