"""Every loss against upstream's values, details and gradients (goldens train/losses)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_model import parse_expression

Goldens = Callable[[str], Path]
Batch = dict[str, dict[str, torch.Tensor]]

CASES = range(63)
LARGE_GRADIENTS = "train/losses/grads.npz"


@pytest.fixture
def batch(goldens: Goldens) -> Batch:
    views: Batch = {"gt1": {}, "gt2": {}, "pred1": {}, "pred2": {}}
    with np.load(goldens("train/losses/inputs.npz")) as arrays:
        for key in arrays.files:
            view, name = key.split(".")
            views[view][name] = torch.from_numpy(arrays[key]).requires_grad_(view.startswith("pred"))
    return views


@pytest.fixture
def full_gradients(goldens: Goldens) -> Iterator[Any]:
    """The stored gradients, or None where only their norms and projections are at hand."""
    try:
        path = goldens(LARGE_GRADIENTS)
    except pytest.skip.Exception:
        yield None
        return
    with np.load(path) as arrays:
        yield arrays


def call_options(case: dict[str, Any], batch: Batch) -> dict[str, Any]:
    options = dict(case["options"])
    options.pop("no_grad", None)
    match options.pop("variant", None):
        case "novalid0":
            for view in ("gt1", "gt2"):
                batch[view]["valid_mask"][0] = False
                batch[view]["sky_mask"][0] = False
        case "novalid_v1":
            batch["gt1"]["valid_mask"][:] = False
    if "np_seed" in options:
        rng = np.random.RandomState(options.pop("np_seed"))
        count, matches = batch["gt1"]["valid_corres"].shape
        options["permutation"] = torch.from_numpy(np.stack([rng.permutation(matches) for _ in range(count)]))
    return options


@pytest.mark.parametrize("number", CASES)
def test_value_details_and_gradients(
    number: int, goldens: Goldens, batch: Batch, full_gradients: Any
) -> None:
    case = json.loads(goldens("train/losses/cases.json").read_text())[number]
    options = call_options(case, batch)
    criterion = parse_expression(case["expr"]).build(["losses"])

    value, details = criterion(**batch_arguments(batch), **options)

    tolerance = 5e-3 if "float16" in case["expr"] else 1e-5
    assert value.item() == pytest.approx(case.get("value_correct", case["value"]), rel=tolerance, nan_ok=True)
    assert list(details) == list(case["details"])
    for key, expected in case["details"].items():
        assert float(details[key]) == pytest.approx(float(expected), rel=tolerance, nan_ok=True), key
    if "value_correct" in case or case["options"].get("no_grad"):
        return
    if case["grads"]:
        value.backward()
    assert_gradients(case, batch, full_gradients)


def test_every_case_is_tested(goldens: Goldens) -> None:
    cases = json.loads(goldens("train/losses/cases.json").read_text())
    assert [case["id"] for case in cases] == list(CASES)


@pytest.mark.gpu
@pytest.mark.parametrize("number", [3, 13, 33, 42, 54])
def test_values_on_a_gpu(number: int, goldens: Goldens, batch: Batch) -> None:
    case = json.loads(goldens("train/losses/cases.json").read_text())[number]
    options = call_options(case, batch)
    on_gpu = {name: {key: value.cuda() for key, value in view.items()} for name, view in batch.items()}
    value, details = parse_expression(case["expr"]).build(["losses"])(**on_gpu, **options)
    assert value.item() == pytest.approx(case["value"], rel=1e-4)
    for key, expected in case["details"].items():
        assert float(details[key]) == pytest.approx(float(expected), rel=1e-4), key


def batch_arguments(batch: Batch) -> Batch:
    return {key: dict(view) for key, view in batch.items()}


def assert_gradients(case: dict[str, Any], batch: Batch, full_gradients: Any) -> None:
    expected = {golden["tensor"]: golden for golden in case["grads"]}
    for view in ("pred1", "pred2"):
        for name, tensor in batch[view].items():
            golden = expected.pop(f"{view}.{name}", None)
            gradient = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.double().numpy()
            if golden is None:
                assert not gradient.any(), f"{view}.{name} has a gradient and should not"
                continue
            projection = float((gradient.ravel() * np.cos(0.37 * np.arange(gradient.size))).sum())
            l2 = float(golden["l2"])
            assert math.sqrt((gradient**2).sum()) == pytest.approx(l2, rel=1e-4)
            assert np.abs(gradient).sum() == pytest.approx(float(golden["l1"]), rel=1e-4)
            assert abs(projection - float(golden["proj"])) <= 1e-4 * l2
            if full_gradients is not None and golden.get("stored") is not False:
                stored = full_gradients[golden["key"]]
                assert np.abs(gradient - stored).max() <= 1e-4 * np.abs(stored).max()
    assert not expected
