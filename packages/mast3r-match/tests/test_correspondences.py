"""Correspondences of a pair: goldens, the plain method, dense masks, merging."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mast3r_match import (
    DescriptorMaps,
    MatchOptions,
    extract_correspondences,
    extract_correspondences_nonsym,
    match_confident_pixels,
    match_symmetric,
    merge_corres,
)
from mast3r_model import InputError

SIDES = ("11", "21", "22", "12")


@pytest.fixture
def golden(goldens: Callable[[str], Path]) -> dict[str, torch.Tensor]:
    data = np.load(goldens("sfm/matching/extract_corres.npz"))
    return {key: torch.from_numpy(data[key].astype(np.float32)) for key in data}


@pytest.mark.parametrize("step", [4, 8])
def test_symmetric(golden: dict[str, torch.Tensor], step: int) -> None:
    xy1, xy2, confidence = extract_correspondences(
        [golden[f"desc{side}"] for side in SIDES], [golden[f"conf{side}"] for side in SIDES], step
    )
    assert torch.equal(xy1, golden[f"xy1_s{step}"].long())
    assert torch.equal(xy2, golden[f"xy2_s{step}"].long())
    torch.testing.assert_close(confidence, golden[f"conf_s{step}"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("tolerance", [0, 3])
@pytest.mark.parametrize("step", [4, 8])
def test_one_pass(golden: dict[str, torch.Tensor], step: int, tolerance: int) -> None:
    xy1, xy2, confidence = extract_correspondences_nonsym(
        golden["desc11"], golden["desc21"], golden["conf11"], golden["conf21"], step, pixel_tol=tolerance
    )
    key = f"s{step}_tol{tolerance}"
    assert torch.equal(xy1, golden[f"nonsym_xy1_{key}"].long())
    assert torch.equal(xy2, golden[f"nonsym_xy2_{key}"].long())
    torch.testing.assert_close(confidence, golden[f"nonsym_conf_{key}"], rtol=1e-6, atol=0)


def load_benchmark() -> ModuleType:
    """The benchmark that holds the plain method, from the repository's root."""
    path = Path(__file__).parents[3] / "benchmarks" / "matching_walks.py"
    if not path.exists():
        pytest.skip("benchmarks/ is not here")
    specification = importlib.util.spec_from_file_location("matching_walks", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["matching_walks"] = module
    specification.loader.exec_module(module)
    return module


def test_plan_equals_the_plain_method() -> None:
    benchmark = load_benchmark()
    height, width = 48, 64
    passes = benchmark.synthetic_passes(height, width)
    ours = match_symmetric(passes, options=MatchOptions(subsample=4))
    pairs, confidence = benchmark.plain_correspondences(passes, 4)
    flat = torch.stack([xy[:, 1] * width + xy[:, 0] for xy in (ours.xy0, ours.xy1)], 1)
    np.testing.assert_array_equal(flat, pairs)
    np.testing.assert_allclose(ours.confidence, confidence, rtol=1e-6)
    assert len(flat) > 100


def test_points_instead_of_descriptors() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(16, 20, 3, generator=generator)
    ones = torch.ones(16, 20)
    xy1, xy2, _ = extract_correspondences_nonsym(points, points, ones, ones, 4, ptmap_key="pts3d")
    assert torch.equal(xy1, xy2)
    assert len(xy1) == 20


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_confident_pixels_only(metric: str) -> None:
    generator = torch.Generator().manual_seed(1)
    maps = torch.nn.functional.normalize(torch.randn(10, 12, 8, generator=generator), dim=-1)
    confidence0, confidence1 = (torch.rand(10, 12, generator=generator) for _ in range(2))
    found = match_confident_pixels(
        DescriptorMaps(maps, maps, confidence0, confidence1), min_confidence=0.5, metric=metric
    )
    confident = (confidence0 >= 0.5) & (confidence1 >= 0.5)
    same = (found.xy0 == found.xy1).all(1)
    assert int(same.sum()) == int(confident.sum())
    assert (found.confidence >= 0.5).all()


def test_merge_golden(goldens: Callable[[str], Path]) -> None:
    data = np.load(goldens("sfm/matching/merge_corres.npz"))
    shapes = tuple(data["shape1"]), tuple(data["shape2"])
    xy1, xy2, index = merge_corres(data["idx1"], data["idx2"], *shapes, ret_index=True)
    np.testing.assert_array_equal(xy1, data["xy1"])
    np.testing.assert_array_equal(xy2, data["xy2"])
    np.testing.assert_array_equal(index, data["index"])
    flat1, flat2 = merge_corres(data["idx1"], data["idx2"], ret_xy=False)
    np.testing.assert_array_equal(flat1, data["flat1"])
    np.testing.assert_array_equal(flat2, data["flat2"])
    assert flat1.dtype == np.int32
    assert index.dtype == np.int64


def test_merge_of_nothing_and_of_wrong_types() -> None:
    nothing = np.empty(0, dtype=np.int32)
    xy1, xy2 = merge_corres(nothing, nothing, (4, 4), (4, 4))
    assert xy1.shape == xy2.shape == (0, 2)
    with pytest.raises(InputError, match="int32"):
        merge_corres(np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), ret_xy=False)
    with pytest.raises(InputError, match="shape1"):
        merge_corres(nothing, nothing)
    with pytest.raises(InputError, match="decoding"):
        match_symmetric([])
