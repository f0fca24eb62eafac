"""Reciprocal walks against the goldens, and what the two kinds of tables must agree on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_match import fast_reciprocal_NNs, nearest_neighbors, reciprocal_nearest_neighbors
from mast3r_match.nearest import FullTable, NeighborTables, neighbor_tables
from mast3r_match.reciprocal import grid_seeds, reciprocal_walk
from mast3r_model import InputError

MAPS = ["rand_a", "rand_raw", "struct_a", "struct_b", "struct_hard"]


@pytest.fixture(params=MAPS)
def golden(request: pytest.FixtureRequest, goldens: Callable[[str], Path]) -> dict[str, np.ndarray]:
    data = dict(np.load(goldens(f"sfm/matching/fastnn_{request.param}.npz")))
    return {key: value.astype(np.float32) if key.startswith("desc") else value for key, value in data.items()}


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_grid(golden: dict[str, np.ndarray], metric: str) -> None:
    for step in (1, 8, 16, np.int64(8)):
        xy1, xy2 = fast_reciprocal_NNs(golden["desc1"], golden["desc2"], step, device="cpu", dist=metric)
        np.testing.assert_array_equal(xy1, golden[f"xy1_{metric}_s{step}"])
        np.testing.assert_array_equal(xy2, golden[f"xy2_{metric}_s{step}"])
        assert xy1.dtype == xy2.dtype == np.int64
        torch.from_numpy(xy1)  # contiguous: no negative strides


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_basins(golden: dict[str, np.ndarray], metric: str) -> None:
    idx1, idx2, basin = fast_reciprocal_NNs(
        golden["desc1"], golden["desc2"], 8, ret_xy=False, ret_basin=True, device="cpu", dist=metric
    )
    np.testing.assert_array_equal(idx1, golden[f"idx1_basin_{metric}_s8"])
    np.testing.assert_array_equal(idx2, golden[f"idx2_basin_{metric}_s8"])
    np.testing.assert_array_equal(basin, golden[f"basin_{metric}_s8"])
    assert idx1.dtype == basin.dtype == np.int32


@pytest.mark.parametrize("tolerance", [0, 2, 5])
def test_given_seeds(golden: dict[str, np.ndarray], tolerance: int) -> None:
    xy1, xy2 = fast_reciprocal_NNs(
        golden["desc1"],
        golden["desc2"],
        (golden["init_x"], golden["init_y"]),
        pixel_tol=tolerance,
        device="cpu",
        dist="dot",
    )
    np.testing.assert_array_equal(xy1, golden[f"xy1_init_tol{tolerance}"])
    np.testing.assert_array_equal(xy2, golden[f"xy2_init_tol{tolerance}"])


def test_below_one_pixel_means_the_same_pixel(golden: dict[str, np.ndarray]) -> None:
    """The tolerance is strict, so 1 is 0 for given seeds."""
    seeds = (golden["init_x"], golden["init_y"])
    xy1, xy2 = fast_reciprocal_NNs(
        golden["desc1"], golden["desc2"], seeds, pixel_tol=1, device="cpu", dist="dot"
    )
    np.testing.assert_array_equal(xy1, golden["xy1_init_tol0"])
    np.testing.assert_array_equal(xy2, golden["xy2_init_tol0"])


def test_a_step_with_a_tolerance_is_its_grid_as_seeds(golden: dict[str, np.ndarray]) -> None:
    """Upstream crashes there (spec 20 section 9)."""
    maps = golden["desc1"], golden["desc2"]
    y, x = np.mgrid[4 : maps[0].shape[0] : 8, 4 : maps[0].shape[1] : 8]
    expected = fast_reciprocal_NNs(*maps, (x.ravel(), y.ravel()), pixel_tol=3, device="cpu", dist="dot")
    found = fast_reciprocal_NNs(*maps, 8, pixel_tol=3, device="cpu", dist="dot")
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_a_metric_the_cpu_takes_a_kd_tree(golden: dict[str, np.ndarray]) -> None:
    xy1, xy2 = fast_reciprocal_NNs(golden["desc1"], golden["desc2"], 8, device="cpu", workers=1)
    np.testing.assert_array_equal(xy1, golden["xy1_kdtree_s8"])
    np.testing.assert_array_equal(xy2, golden["xy2_kdtree_s8"])


@pytest.mark.parametrize("step", [1, 4, 8])
def test_ties(goldens: Callable[[str], Path], step: int) -> None:
    data = np.load(goldens("sfm/matching/fastnn_ties.npz"))
    maps = (data[key].astype(np.float32) for key in ("desc1", "desc2"))
    xy1, xy2 = fast_reciprocal_NNs(*maps, step, device="cpu", dist="dot")
    np.testing.assert_array_equal(xy1, data[f"xy1_s{step}"])
    np.testing.assert_array_equal(xy2, data[f"xy2_s{step}"])


def test_our_function_and_upstreams_agree(golden: dict[str, np.ndarray]) -> None:
    found = reciprocal_nearest_neighbors(torch.from_numpy(golden["desc1"]), torch.from_numpy(golden["desc2"]))
    np.testing.assert_array_equal(found.xy0, golden["xy1_dot_s8"])
    np.testing.assert_array_equal(found.xy1, golden["xy2_dot_s8"])


def test_y_x_output(golden: dict[str, np.ndarray]) -> None:
    (y, x), _ = fast_reciprocal_NNs(golden["desc1"], golden["desc2"], 8, "y_x", device="cpu", dist="dot")
    np.testing.assert_array_equal(np.stack([x, y], 1), golden["xy1_dot_s8"])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.0, 1.0, 3.0]), st.booleans())
def test_full_and_lazy_tables_walk_alike(seed: int, step: int, tolerance: float, masked: bool) -> None:
    random = np.random.default_rng(seed)
    shape1, shape2 = random.integers(3, 20, 2), random.integers(3, 20, 2)
    map1, map2 = (
        torch.from_numpy(random.integers(-2, 3, (*shape, 3)).astype(np.float32)) for shape in (shape1, shape2)
    )
    allowed = [torch.from_numpy(random.random(shape) > 0.3) if masked else None for shape in (shape1, shape2)]
    flags = [None if mask is None else mask.flatten() for mask in allowed]
    lazy = neighbor_tables(map1, map2, allowed1=allowed[0], allowed2=allowed[1])
    both = nearest_neighbors(
        map1.flatten(0, 1),
        map2.flatten(0, 1),
        both_directions=True,
        queries_allowed=flags[0],
        database_allowed=flags[1],
    )
    assert both.column_index is not None
    full = NeighborTables(
        FullTable(both.row_index), FullTable(both.column_index), lazy.shape1, lazy.shape2, lazy.device
    )
    seeds = grid_seeds(lazy.shape1, step)
    trips = 1 if tolerance else 10
    walks = [
        reciprocal_walk(tables, seeds, max_round_trips=trips, pixel_tol=tolerance, with_basin=True)
        for tables in (lazy, full)
    ]
    for name in ("pixels1", "pixels2", "basin"):
        assert torch.equal(getattr(walks[0], name), getattr(walks[1], name))
    if not tolerance:
        u, v = walks[0].pixels1, walks[0].pixels2
        assert torch.equal(both.row_index[u], v)
        assert torch.equal(both.column_index[v], u)


def test_masks_exclude_before_matching() -> None:
    """The best partner of every pixel is masked: the second best must be found, not nothing."""
    generator = torch.Generator().manual_seed(0)
    map1 = torch.nn.functional.normalize(torch.randn(12, 12, 16, generator=generator), dim=-1)
    better, worse = map1, torch.nn.functional.normalize(map1 + 0.1, dim=-1)
    map2 = torch.cat([better, worse], dim=1)
    allowed = torch.zeros(12, 24, dtype=torch.bool)
    allowed[:, 12:] = True
    found = reciprocal_nearest_neighbors(map1, map2, subsample=1, allowed1=allowed)
    assert len(found.xy0) > 100
    assert (found.xy1[:, 0] >= 12).all()
    same = (found.xy1[:, 0] - 12 == found.xy0[:, 0]) & (found.xy1[:, 1] == found.xy0[:, 1])
    assert same.mean() > 0.9


SEEDS = torch.tensor([[5, 3], [0, 0], [11, 11], [5, 3]])


def test_seeds_come_in_any_container() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(12, 12, 8, generator=generator) for _ in range(2)]
    expected = reciprocal_nearest_neighbors(*maps, seeds=SEEDS, pixel_tol=99)
    assert expected.xy0.tolist() == [[0, 0], [5, 3], [11, 11]]
    backwards = SEEDS.numpy()[::-1]
    for x, y in (SEEDS.T, SEEDS.T.tolist(), backwards.T):
        xy0, xy1 = fast_reciprocal_NNs(*maps, (x, y), pixel_tol=99, device="cpu", dist="dot")
        np.testing.assert_array_equal(xy0, expected.xy0)
        np.testing.assert_array_equal(xy1, expected.xy1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.gpu
def test_seeds_on_a_gpu() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(12, 12, 8, generator=generator) for _ in range(2)]
    here = reciprocal_nearest_neighbors(*maps, seeds=SEEDS, pixel_tol=99)
    there = reciprocal_nearest_neighbors(*(m.cuda() for m in maps), seeds=SEEDS.cuda(), pixel_tol=99)
    np.testing.assert_array_equal(here.xy0, there.xy0)
    np.testing.assert_array_equal(here.xy1, there.xy1)


def test_nothing_can_match() -> None:
    nothing = reciprocal_nearest_neighbors(
        torch.ones(8, 8, 3), torch.ones(8, 8, 3), allowed1=torch.zeros(8, 8, dtype=torch.bool)
    )
    assert nothing.xy0.shape == nothing.xy1.shape == (0, 2)


def test_bad_input_is_refused() -> None:
    maps = torch.ones(8, 8, 3), torch.ones(8, 8, 3)
    with pytest.raises(InputError, match="inside the 8x8 image"):
        reciprocal_nearest_neighbors(*maps, seeds=torch.tensor([[8, 0]]))
    with pytest.raises(InputError, match="subsample"):
        reciprocal_nearest_neighbors(*maps, subsample=0)
    with pytest.raises(InputError, match="mask"):
        reciprocal_nearest_neighbors(*maps, allowed0=torch.ones(4, 4, dtype=torch.bool))
    with pytest.raises(InputError, match="descriptor map"):
        reciprocal_nearest_neighbors(maps[0][0], maps[1])
