"""The pieces of the losses against upstream's: normalisation, medians, InfoNCE, average precision."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mast3r_model import registry
from mast3r_train.losses import L21, APLoss, InfoNCE, L21Loss, PointNormalization, chunking
from mast3r_train.losses.infonce import log_sums
from mast3r_train.losses.normalization import (
    joint_center,
    joint_depth,
    joint_scale,
    log_scaled,
    lower_median,
)

Goldens = Callable[[str], Path]


@pytest.fixture
def tensors(goldens: Goldens) -> Mapping[str, torch.Tensor]:
    with np.load(goldens("train/losses/units.npz")) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@pytest.fixture
def numbers(goldens: Goldens) -> Mapping[str, Any]:
    return json.loads(goldens("train/losses/units.json").read_text())


def clouds(tensors: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    return [tensors[f"norm.{name}"] for name in ("pts1", "pts2", "valid1", "valid2")]


@pytest.mark.parametrize("mode", ["avg_dis", "avg_log1p", "avg_warp-log1p", "median_dis", "sqrt_dis"])
def test_normalization(mode: str, tensors: Mapping[str, torch.Tensor]) -> None:
    normalization = PointNormalization.from_mode(mode)
    assert normalization is not None
    (out1, out2), factor = normalization(*clouds(tensors))
    assert_close(factor, tensors[f"norm.{mode}.factor"], rtol=1e-5, atol=0)
    assert_close(out1, tensors[f"norm.{mode}.out1"], rtol=1e-5, atol=1e-6)
    assert_close(out2, tensors[f"norm.{mode}.out2"], rtol=1e-5, atol=1e-6)


def test_joint_statistics(tensors: Mapping[str, torch.Tensor]) -> None:
    points = clouds(tensors)
    assert_close(joint_depth(*points), tensors["joint.depth"])
    assert_close(joint_depth(*points, quantile=0.25), tensors["joint.depth_q25"], rtol=1e-5, atol=1e-6)
    assert_close(joint_center(*points), tensors["joint.center"])
    assert_close(joint_scale(*points), tensors["joint.scale"], rtol=1e-5, atol=1e-6)
    assert_close(log_scaled(points[0]), tensors["log_to_norm"], rtol=1e-5, atol=1e-6)


def test_scale_around_the_median_depth(tensors: Mapping[str, torch.Tensor]) -> None:
    """Upstream's variant with a centre on the optical axis; no loss uses it, but its parts are ours."""
    *points, valid1, valid2 = clouds(tensors)
    center = torch.nn.functional.pad(joint_depth(*points, valid1, valid2)[:, None], (2, 0))[:, None, None]
    assert_close(center, tensors["joint.center_zonly"])
    distance = torch.cat([(cloud - center).norm(dim=-1).flatten(1) for cloud in points], dim=1)
    valid = torch.cat([valid1.flatten(1), valid2.flatten(1)], dim=1)
    scale = lower_median(distance, valid, dim=1)[:, None, None, None]
    assert_close(scale, tensors["joint.scale_zonly"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_l21(reduction: Any, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> None:
    criterion = L21Loss(reduction=reduction)
    a, b = tensors["l21.a"], tensors["l21.b"]
    assert_close(criterion(a, b), torch.tensor(numbers["l21"][reduction]), rtol=1e-5, atol=0)
    assert_close(criterion(a[:0], b[:0]), torch.tensor(numbers["l21_empty"][reduction]))


def test_l21_has_gradient_0_at_0() -> None:
    point = torch.zeros(1, 3, requires_grad=True)
    L21(point, torch.zeros(1, 3)).backward()
    assert point.grad is not None
    assert not point.grad.any()


def test_infonce(tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> None:
    for case in numbers["infonce"]:
        criterion = InfoNCE(mode=case["mode"], temperature=case["temperature"], reduction="none")
        losses = criterion(
            tensors["nce.d1"],
            tensors["nce.d2_more" if case["negatives"] else "nce.d2"],
            tensors["nce.valid"] if case["valid"] else None,
            euclidean=case["euc"],
        )
        assert_close(losses, torch.tensor(case["loss"]).flatten(), rtol=1e-5, atol=1e-6, msg=str(case))


@pytest.mark.parametrize("mode", ["all", "proper", "dual"])
def test_infonce_far_from_the_safe_range_equals_float64(mode: Any) -> None:
    torch.manual_seed(0)
    desc1, desc2 = torch.randn(2, 2, 9, 4, dtype=torch.float64)
    criterion = InfoNCE(mode=mode, temperature=0.005, reduction="none")
    exact = InfoNCE(mode=mode, temperature=0.005, reduction="none", fp=torch.float64)
    assert_close(criterion(desc1.float(), desc2.float()), exact(desc1, desc2).float(), rtol=1e-4, atol=1e-3)
    assert torch.isfinite(criterion(desc1.float(), desc2.float())).all()


def test_both_sums_of_infonce_are_equal() -> None:
    torch.manual_seed(0)
    fast, plain = (torch.randn(2, 7, 9).mul_(8).requires_grad_() for _ in range(2))
    plain.data.copy_(fast.data)
    for scores, bounded in ((fast, True), (plain, False)):
        sum((log_sum**2).sum() for log_sum in log_sums(scores, (1, 2), bounded=bounded)).backward()
    assert_close(log_sums(fast, (1, 2), bounded=True), log_sums(plain, (1, 2), bounded=False))
    assert_close(fast.grad, plain.grad, rtol=1e-5, atol=1e-5)


def test_average_precision(tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> None:
    for case in numbers["ap"]:
        criterion = APLoss(nq=case["nq"], reduction="none")
        desc2 = tensors["nce.d2_more" if case["negatives"] else "nce.d2"]
        precision = criterion(tensors["nce.d1"], desc2, tensors["nce.valid"])
        assert_close(precision, torch.tensor(case["ap"]).flatten(), rtol=1e-5, atol=0, msg=str(case))


def test_masked_mse_under_its_registered_name(
    tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]
) -> None:
    masked_mse = registry("losses")["MaskedMSE"]
    patches = tensors["mse.pred"], tensors["mse.mask"].bool(), tensors["mse.target"]
    for case in numbers["masked_mse"]:
        loss = masked_mse(norm_pix_loss=case["norm_pix_loss"], masked=case["masked"])(*patches)
        assert_close(loss, torch.tensor(case["loss"]), rtol=1e-5, atol=0, msg=str(case))


def test_ties_of_average_precision() -> None:
    desc1 = torch.ones(1, 1, 1)
    desc2 = torch.tensor([[[2.0], [2.0], [3.0], [1.0]]])
    assert float(APLoss(nq="torch")(desc1, desc2)) == pytest.approx(1 / 2)
    assert float(APLoss(nq="sklearn")(desc1, desc2)) == pytest.approx(1 / 3)
    assert float(APLoss(nq=0)(desc1, desc2)) == pytest.approx(1 / 3)


def test_average_precision_of_nothing() -> None:
    desc, valid = torch.ones(1, 2, 3), torch.zeros(1, 2, dtype=torch.bool)
    assert float(APLoss(reduction="1-mean")(desc, desc, valid)) == 1
    assert float(APLoss()(desc, desc, valid)) == 0


@pytest.fixture
def three_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the losses compute three rows of similarities at a time, of so many entries each."""

    def cut(row_size: int) -> None:
        monkeypatch.setattr(chunking, "AT_ONCE", 0)
        monkeypatch.setattr(chunking, "CHUNK", 3 * row_size)
        assert chunking.row_slices(7, row_size) == [slice(0, 3), slice(3, 6), slice(6, 7)]

    return cut


@pytest.mark.parametrize("temperature", [0.05, 0.005])  # the second needs sums relative to the maxima
@pytest.mark.parametrize("euclidean", [False, True])
@pytest.mark.parametrize(("mode", "candidates"), [("all", 7), ("all", 11), ("proper", 7), ("dual", 7)])
def test_infonce_by_rows_equals_all_at_once(
    mode: Any,
    candidates: int,
    euclidean: bool,
    temperature: float,
    three_rows_at_a_time: Callable[[int], None],
) -> None:
    torch.manual_seed(0)
    criterion = InfoNCE(mode=mode, temperature=temperature, reduction="none", eps=1e-30)
    inputs = [torch.nn.functional.normalize(torch.randn(2, n, 8), dim=-1) for n in (7, candidates)]
    valid = torch.rand(2, 7) > 0.3
    results = []
    for _ in range(2):
        desc1, desc2 = (tensor.clone().requires_grad_() for tensor in inputs)
        losses = criterion(desc1, desc2, valid, euclidean=euclidean)
        (losses * torch.arange(1, len(losses) + 1)).sum().backward()
        results.append((losses, desc1.grad, desc2.grad))
        three_rows_at_a_time(2 * candidates)
    for whole, cut in zip(*results, strict=True):
        assert_close(cut, whole, rtol=1e-5, atol=1e-6 * whole.abs().max().item())


@pytest.mark.parametrize("nq", ["torch", "sklearn"])
def test_average_precision_by_rows_equals_all_at_once(
    nq: Any, three_rows_at_a_time: Callable[[int], None]
) -> None:
    torch.manual_seed(0)
    desc1, desc2 = torch.randn(2, 7, 4), torch.randn(2, 11, 4)
    valid = torch.rand(2, 7) > 0.3
    whole = APLoss(nq=nq, reduction="none")(desc1, desc2, valid)
    three_rows_at_a_time(2 * 11)
    assert torch.equal(APLoss(nq=nq, reduction="none")(desc1, desc2, valid), whole)


@pytest.mark.parametrize("mode", ["all", "proper", "dual"])
def test_infonce_by_rows_needs_less_than_one_matrix_of_similarities(
    mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = 2 * 200 * 200
    desc1, desc2 = (torch.nn.functional.normalize(torch.randn(2, 200, 2), dim=-1) for _ in range(2))
    peaks = []
    for chunk in (matrix, matrix // 20):
        monkeypatch.setattr(chunking, "AT_ONCE", chunk)
        monkeypatch.setattr(chunking, "CHUNK", chunk)
        with LiveEntries() as live:
            InfoNCE(mode=mode)(desc1.clone().requires_grad_(), desc2.clone().requires_grad_()).backward()
        peaks.append(live.peak)
    assert peaks[0] >= 2 * matrix
    assert peaks[1] < matrix / 2  # forward and backward


@pytest.mark.gpu
def test_infonce_of_the_published_size_on_a_gpu() -> None:
    inputs = [
        torch.nn.functional.normalize(torch.randn(8, 8192, 24, device="cuda"), dim=-1) for _ in range(2)
    ]
    results = []
    for images in (slice(0, 1), slice(None)):  # one image is computed at once, eight are in parts
        desc1, desc2 = (tensor[images].clone().requires_grad_() for tensor in inputs)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        losses = InfoNCE(mode="proper", temperature=0.05, reduction="none")(desc1, desc2)
        losses.sum().backward()
        results.append((losses[:8192], desc1.grad, torch.cuda.max_memory_allocated() - before))
    (one, one_gradient, _), (all_of_it, gradient, memory) = results
    assert memory < 2**30  # all at once: six times as much
    assert_close(all_of_it, one, rtol=1e-4, atol=1e-4)
    assert_close(gradient[:1], one_gradient, rtol=1e-3, atol=1e-4)


class LiveEntries(TorchDispatchMode):
    """Counts the entries of the tensors made inside the block that are alive at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self._known:
                storage, entries = tensor.untyped_storage(), tensor.untyped_storage().nbytes() // 4
                self._known.add(storage)
                self.live += entries
                weakref.finalize(storage, self._drop, entries)
        self.peak = max(self.peak, self.live)
        return result

    def _drop(self, entries: int) -> None:
        self.live -= entries
