"""Depth fusion along rays (spec 30 section 7.4)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mast3r_model import InputError
from mast3r_sfm.tsdf import fuse_depths

HEIGHT, WIDTH, FOCAL = 24, 32, 30.0
Views = tuple[list[Tensor], list[Tensor], Tensor, Tensor]


def plane_views(noise: float = 0.0, count: int = 3) -> Views:
    """Cameras side by side that look at a slanted plane: depths, confidences, intrinsics, poses."""
    matrix = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    rays = torch.stack([(x - WIDTH / 2) / FOCAL, (y - HEIGHT / 2) / FOCAL, torch.ones_like(x)], dim=-1)
    normal = torch.tensor([0.2, 0.1, 1.0])
    generator = torch.Generator().manual_seed(0)
    depths, poses = [], torch.eye(4).repeat(count, 1, 1)
    for image in range(count):
        poses[image, 0, 3] = 0.3 * image
        depth = (4 - normal @ poses[image, :3, 3]) / (rays @ normal)
        depths.append(depth + noise * torch.randn(depth.shape, generator=generator))
    return depths, [torch.full((HEIGHT, WIDTH), 3.0)] * count, matrix.repeat(count, 1, 1), poses


def test_a_consistent_scene_stays() -> None:
    depths, *rest = plane_views()
    for before, after in zip(depths, fuse_depths(depths, *rest, truncation=0.3), strict=True):
        # Neighbouring views are read at the nearest pixel, so that the slanted plane looks like steps.
        torch.testing.assert_close(after, before, atol=0.04, rtol=0)


def test_noise_goes_down_and_the_same_comes_out_twice() -> None:
    true, *_ = plane_views(count=5)
    depths, *rest = plane_views(noise=0.05, count=5)
    fused = fuse_depths(depths, *rest, truncation=0.3)
    errors = [
        torch.stack([(d - t).abs().mean() for d, t in zip(x, true, strict=True)]) for x in (depths, fused)
    ]
    assert (errors[1] < 0.6 * errors[0]).all()
    for first, second in zip(fused, fuse_depths(depths, *rest, truncation=0.3), strict=True):
        assert torch.equal(first, second)


def test_small_chunks_change_nothing() -> None:
    depths, *rest = plane_views(noise=0.05)
    whole, parts = (fuse_depths(depths, *rest, truncation=0.3, max_queries=n) for n in (1 << 22, 1000))
    for first, second in zip(whole, parts, strict=True):
        torch.testing.assert_close(first, second)


def test_no_depth_moves_further_than_the_truncation() -> None:
    depths, *rest = plane_views(noise=0.5)
    for before, after in zip(depths, fuse_depths(depths, *rest, truncation=0.1), strict=True):
        assert (after - before).abs().max() <= 0.1 + 1e-6


def test_confidence_decides_up_to_its_cap() -> None:
    depths, confs, matrices, poses = plane_views(count=2)
    poses[1] = poses[0]
    depths = [torch.full((HEIGHT, WIDTH), 4.0), torch.full((HEIGHT, WIDTH), 4.1)]
    confs = [torch.full((HEIGHT, WIDTH), 3.0), torch.full((HEIGHT, WIDTH), 1e6)]
    fused = fuse_depths(depths, confs, matrices, poses, truncation=0.3, max_confidence=9)
    torch.testing.assert_close(fused[0], torch.full_like(fused[0], 4.075))
    torch.testing.assert_close(fused[1], torch.full_like(fused[1], 4.075))


def test_only_overlapping_views_count_and_invalid_depths_stay() -> None:
    depths, *rest = plane_views(noise=0.05)
    depths[0][3, 4] = 0
    depths[1][5, 6] = torch.nan
    fused = fuse_depths(depths, *rest, truncation=0.3, pairs=[(0, 1), (1, 0), (1, 1)])
    assert torch.equal(fused[2], depths[2])
    assert fused[0][3, 4] == 0
    assert fused[1][5, 6].isnan()
    assert fused[0].isfinite().all()
    assert not torch.equal(fused[0], depths[0])


def test_nothing_happens_without_truncation() -> None:
    depths, *rest = plane_views(noise=0.05)
    assert all(a is b for a, b in zip(fuse_depths(depths, *rest, truncation=0), depths, strict=True))
    with pytest.raises(InputError, match="truncation"):
        fuse_depths(depths, *rest, truncation=-1)
    with pytest.raises(InputError, match="poses"):
        fuse_depths(depths[:2], *rest, truncation=1)
