"""Exact nearest neighbours: goldens, brute force, ties, exclusions, memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_match import DescriptorIndex, bruteforce_reciprocal_nns, cdistMatcher, nearest_neighbors
from mast3r_match.nearest import blocks
from mast3r_match.nearest.backends import choose_backend
from mast3r_model import InputError

MAPS = ["rand_a", "rand_raw", "struct_a", "struct_b", "struct_hard"]


def brute_force(queries: np.ndarray, database: np.ndarray, metric: str) -> np.ndarray:
    """Scores in float64, (queries, database)."""
    a, b = queries.astype(np.float64), database.astype(np.float64)
    if metric == "dot":
        return a @ b.T
    return -np.linalg.norm(a[:, None] - b[None], axis=-1)


def run_script(script: str, **environment: str) -> str:
    """Standard output of a Python process."""
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("metric", ["dot", "l2"])
@pytest.mark.parametrize("name", MAPS)
def test_goldens(goldens: Callable[[str], Path], name: str, metric: str) -> None:
    data = np.load(goldens(f"sfm/matching/fastnn_{name}.npz"))
    first, second = (
        data[key].astype(np.float32).reshape(-1, data[key].shape[-1]) for key in ("desc1", "desc2")
    )
    nn12, nn21 = bruteforce_reciprocal_nns(first, second, device="cpu", block_size=97, dist=metric)
    np.testing.assert_array_equal(nn12, data[f"nn12_{metric}"])
    np.testing.assert_array_equal(nn21, data[f"nn21_{metric}"])
    rows = nearest_neighbors(torch.from_numpy(first), torch.from_numpy(second), metric=metric)
    np.testing.assert_array_equal(rows.row_index, data[f"nn12_{metric}"])
    assert rows.column_index is None


def test_golden_ties(goldens: Callable[[str], Path]) -> None:
    data = np.load(goldens("sfm/matching/fastnn_ties.npz"))
    first, second = (data[key].astype(np.float32).reshape(-1, 4) for key in ("desc1", "desc2"))
    nn12, nn21 = bruteforce_reciprocal_nns(first, second, device="cpu", dist="dot")
    np.testing.assert_array_equal(nn12, data["nn12"])
    np.testing.assert_array_equal(nn21, data["nn21"])


@st.composite
def integer_problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Small integer descriptors: scores are exact and ties abound."""
    dim, queries, database = draw(st.integers(1, 5)), draw(st.integers(1, 200)), draw(st.integers(1, 200))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return tuple(random.integers(-2, 3, (rows, dim)).astype(np.float32) for rows in (queries, database))


@settings(max_examples=60, deadline=None)
@given(
    integer_problems(),
    st.sampled_from(["dot", "l2"]),
    st.sampled_from([64, 128]),
    st.sampled_from([64 * 64, 256 * 64]),
    st.integers(1, 3),
)
def test_lowest_index_wins_for_any_blocks(
    problem: tuple[np.ndarray, np.ndarray], metric: str, queries: int, tile: int, threads: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(blocks.BLOCK_SIZES, "cpu", blocks.BlockSizes(queries, tile))
        found = nearest_neighbors(
            *map(torch.from_numpy, problem), metric=metric, both_directions=True, threads=threads
        )
        rows_only = nearest_neighbors(*map(torch.from_numpy, problem), metric=metric, threads=threads)
    scores = brute_force(*problem, metric)
    np.testing.assert_array_equal(found.row_index, scores.argmax(1))
    np.testing.assert_array_equal(rows_only.row_index, scores.argmax(1))
    np.testing.assert_array_equal(found.column_index, scores.argmax(0))
    np.testing.assert_allclose(found.row_score, scores.max(1), atol=1e-5)
    np.testing.assert_allclose(found.column_score, scores.max(0), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 30),
    st.sampled_from(["dot", "l2"]),
    st.sampled_from(["dense", "kdtree"]),
    st.integers(0, 10**6),
)
def test_best_score_equals_brute_force(
    queries: int, database: int, dim: int, metric: str, backend: str, seed: int
) -> None:
    metric = "l2" if backend == "kdtree" else metric
    random = np.random.default_rng(seed)
    a, b = (random.standard_normal((rows, dim)).astype(np.float32) for rows in (queries, database))
    found = nearest_neighbors(
        torch.from_numpy(a), torch.from_numpy(b), metric=metric, both_directions=True, backend=backend
    )
    scores = brute_force(a, b, metric)
    reached = scores[np.arange(queries), found.row_index]
    np.testing.assert_allclose(reached, scores.max(1), rtol=1e-5, atol=2e-3)
    np.testing.assert_allclose(
        scores[found.column_index, np.arange(database)], scores.max(0), rtol=1e-5, atol=2e-3
    )


@pytest.mark.parametrize("both", [False, True])
def test_nan_and_excluded_rows_neither_match_nor_block(both: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(70, 6, generator=generator), torch.randn(90, 6, generator=generator)
    a[3], b[5, 2], b[6, 0] = torch.nan, torch.nan, torch.inf
    allowed_a, allowed_b = torch.ones(70, dtype=torch.bool), torch.ones(90, dtype=torch.bool)
    allowed_a[10], allowed_b[20:40] = False, False
    found = nearest_neighbors(
        a, b, both_directions=both, queries_allowed=allowed_a, database_allowed=allowed_b
    )
    allowed_a[3], allowed_b[5], allowed_b[6] = False, False, False
    scores = (torch.nan_to_num(a) @ torch.nan_to_num(b, posinf=0).T).double()
    scores[~allowed_a], scores[:, ~allowed_b] = -torch.inf, -torch.inf
    expected = torch.where(allowed_a, scores.argmax(1), -1)
    assert torch.equal(found.row_index, expected)
    assert torch.isinf(found.row_score[~allowed_a]).all()
    if both:
        assert torch.equal(found.column_index, torch.where(allowed_b, scores.argmax(0), -1))


@pytest.mark.parametrize("backend", ["dense", "kdtree"])
@pytest.mark.parametrize(("queries", "database"), [(0, 5), (5, 0), (0, 0)])
def test_empty_sides(queries: int, database: int, backend: str) -> None:
    found = nearest_neighbors(
        torch.ones(queries, 3), torch.ones(database, 3), metric="l2", both_directions=True, backend=backend
    )
    assert found.row_index.tolist() == [-1] * queries
    assert found.column_index is not None
    assert found.column_index.tolist() == [-1] * database


def test_bf16_rounds_the_values_and_sums_in_float32() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(50, 24, generator=generator), torch.randn(60, 24, generator=generator)
    found = nearest_neighbors(a, b, precision="bf16")
    exact = a.bfloat16().double() @ b.bfloat16().double().T
    assert torch.equal(found.row_index, exact.argmax(1))
    torch.testing.assert_close(found.row_score.double(), exact.amax(1))


def test_index_answers_like_the_function() -> None:
    generator = torch.Generator().manual_seed(2)
    database, queries = torch.randn(500, 8, generator=generator), torch.randn(33, 8, generator=generator)
    index = DescriptorIndex(database, metric="l2")
    for part in (queries, queries[:1], queries[:0]):
        found = index.query(part)
        expected = nearest_neighbors(part, database, metric="l2")
        assert torch.equal(found.index, expected.row_index)


INTERPRETED = """
import numpy as np, torch
from mast3r_match import nearest_neighbors
random = np.random.default_rng(3)
for queries, database, dim in ((130, 140, 24), (5, 129, 3)):
    a = torch.from_numpy(random.integers(-2, 3, (queries, dim)).astype(np.float32))
    b = torch.from_numpy(random.integers(-2, 3, (database, dim)).astype(np.float32))
    for metric, both in (("dot", True), ("dot", False), ("l2", True)):
        fused = nearest_neighbors(a, b, metric=metric, both_directions=both, backend="fused")
        dense = nearest_neighbors(a, b, metric=metric, both_directions=both, backend="dense")
        assert torch.equal(fused.row_index, dense.row_index)
        torch.testing.assert_close(fused.row_score, dense.row_score)
        assert not both or torch.equal(fused.column_index, dense.column_index)
half = nearest_neighbors(a, b, precision="bf16", both_directions=True, backend="fused")
dense = nearest_neighbors(a, b, precision="bf16", both_directions=True, backend="dense")
assert torch.equal(half.row_index, dense.row_index)
"""


def test_fused_kernel_equals_its_twin_in_tritons_interpreter() -> None:
    """In a process of its own: Triton decides on import whether it interprets."""
    pytest.importorskip("triton")
    run_script(INTERPRETED, TRITON_INTERPRET="1")


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine on which the kernel cannot run")
def test_a_kernel_that_cannot_run_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a GPU machine without a C compiler: it is found out once, and said."""
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    device = torch.device("cuda", 7)
    assert choose_backend("auto", device) is choose_backend("dense", device)
    assert choose_backend("auto", device) is choose_backend("dense", device)
    assert [record.message[:28] for record in caplog.records] == ["matching goes on without the"]


@needs_cuda
@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_fused_kernel_on_a_gpu(metric: str, precision: str) -> None:
    generator = torch.Generator().manual_seed(4)
    a, b = (
        torch.nn.functional.normalize(torch.randn(rows, 24, generator=generator), dim=1)
        for rows in (5000, 7001)
    )
    options = {"metric": metric, "precision": precision, "both_directions": True}
    fused = nearest_neighbors(a.cuda(), b.cuda(), backend="fused", **options)
    dense = nearest_neighbors(a, b, backend="dense", **options)
    for ours, twin in ((fused.row_index, dense.row_index), (fused.column_index, dense.column_index)):
        assert (ours.cpu() == twin).float().mean() > 0.9995  # near ties may differ
    torch.testing.assert_close(fused.row_score.cpu(), dense.row_score, atol=1e-5, rtol=1e-5)


@needs_cuda
@pytest.mark.gpu
def test_ties_on_a_gpu() -> None:
    random = np.random.default_rng(5)
    a, b = (torch.from_numpy(random.integers(-2, 3, (3000, 4)).astype(np.float32)) for _ in range(2))
    fused = nearest_neighbors(a.cuda(), b.cuda(), both_directions=True, backend="fused")
    dense = nearest_neighbors(a, b, both_directions=True, backend="dense")
    assert torch.equal(fused.row_index.cpu(), dense.row_index)
    assert torch.equal(fused.column_index.cpu(), dense.column_index)


@pytest.mark.parametrize("both_directions", [False, True])
def test_memory_does_not_grow_with_the_product(both_directions: bool) -> None:
    """40,000 x 40,000 scores would take 6.4 GB; even block by block, maxima that pile up would take 100 MB."""
    script = f"""
import resource, sys, torch
from mast3r_match import nearest_neighbors
a, b = torch.randn(40_000, 8), torch.randn(40_000, 8)
nearest_neighbors(a[:3000], b[:3000], both_directions={both_directions}, threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
nearest_neighbors(a, b, both_directions={both_directions}, threads=2)
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""
    assert int(run_script(script)) / 1024 < 60


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_threads_can_write_whatever_the_callers_mode(
    mode: Callable[[], AbstractContextManager[None]],
) -> None:
    with mode():
        a, b = torch.randn(700, 8), torch.randn(900, 8)
        found = nearest_neighbors(a, b, both_directions=True, threads=2)
        assert torch.equal(found.row_index, (a @ b.T).argmax(1))


def test_the_callers_threads_are_left_alone() -> None:
    before = torch.get_num_threads()
    nearest_neighbors(torch.randn(2000, 8), torch.randn(2000, 8), threads=3)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "cosine"},
        {"backend": "faiss"},
        {"precision": "fp8"},
        {"metric": "dot", "backend": "kdtree"},
    ],
)
def test_unknown_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InputError):
        nearest_neighbors(torch.ones(2, 3), torch.ones(2, 3), **options)


def test_shapes_are_checked() -> None:
    with pytest.raises(InputError, match=r"\(2, 3\) and \(2, 4\)"):
        nearest_neighbors(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match="cosine"):
        bruteforce_reciprocal_nns(np.ones((2, 3)), np.ones((2, 3)), device="cpu", dist="cosine")


def test_cdist_matcher() -> None:
    matcher = cdistMatcher(torch.eye(3), device="cpu")
    nothing, found = matcher.query(np.array([[0.0, 0.9, 0.0]], dtype=np.float32))
    assert nothing is None
    assert list(found) == [1]
    assert matcher.query(np.empty((0, 3)))[1] == []
    with pytest.raises(InputError, match="k=2"):
        matcher.query(np.ones((1, 3)), k=2)
