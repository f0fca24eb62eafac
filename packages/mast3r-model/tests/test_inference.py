"""inference, make_pairs and collate_with_cat against upstream's results (spec 10 S10.2 to S10.4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_model.checkpoints import load_model
from mast3r_model.errors import InputError
from mast3r_model.pair_inference import collate_with_cat, inference
from mast3r_model.pairs import make_pairs

Goldens = Callable[[str], Path]


class EchoModel:
    """Answers with the images themselves, and remembers the batch sizes."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, view1: dict[str, Any], view2: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        self.batches.append(len(view1["img"]))
        assert len(view1["instance"]) == len(view1["img"]) == len(view1["true_shape"])
        return (
            {"pts3d": view1["img"].permute(0, 2, 3, 1), "conf": view1["img"][:, 0]},
            {"conf": view2["img"][:, 0], "pts3d_in_other_view": view2["img"].permute(0, 2, 3, 1)},
        )


def make_view(image: torch.Tensor, index: int) -> dict[str, Any]:
    shape = np.array([image.shape[-2:]], dtype=np.int32)
    return {"img": image, "true_shape": shape, "idx": index, "instance": str(index)}


def golden_views(goldens: Goldens, case: str) -> list[dict[str, Any]]:
    arrays = np.load(goldens("model/inference.npz"))
    return [make_view(torch.from_numpy(arrays[f"{case}/img{i}"]), i) for i in range(3)]


def describe(value: Any) -> Any:
    """The structure of a result in the words of inference_structure.json."""
    if isinstance(value, dict):
        return {key: describe(item) for key, item in value.items()}
    if isinstance(value, list):
        return {"__type__": "list", "len": len(value), "items": [describe(item) for item in value]}
    if isinstance(value, torch.Tensor):
        return f"tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"{type(value).__name__} {value!r}"


@pytest.mark.parametrize("case", ["same", "mixed"])
def test_structure(case: str, goldens: Goldens) -> None:
    structure = json.loads(goldens("model/inference_structure.json").read_text())
    pairs = make_pairs(golden_views(goldens, case))
    assert [[a["idx"], b["idx"]] for a, b in pairs] == structure[f"{case}_pairs"]
    result = inference(pairs, EchoModel(), "cpu", batch_size=4, verbose=False)
    assert describe(result) == structure[case]
    assert list(result["pred2"]) == list(structure[case]["pred2"])
    for i, (first, second) in enumerate(pairs):
        assert torch.equal(result["view1"]["img"][i], first["img"][0])
        assert torch.equal(result["pred2"]["conf"][i], second["img"][0, 0])


@pytest.mark.parametrize("case", ["same", "mixed"])
def test_numbers_equal_upstreams(case: str, goldens: Goldens) -> None:
    model = load_model(goldens("model/dust3r_linear.pth"), device="cpu")
    arrays = np.load(goldens("model/inference.npz"))
    result = inference(make_pairs(golden_views(goldens, case)), model, "cpu", batch_size=4, verbose=False)
    for view in ("pred1", "pred2"):
        for key, values in result[view].items():
            name = f"{case}/{view}_{key}"
            golden = arrays[name] if name in arrays else [arrays[f"{name}_{i}"] for i in range(6)]
            for value, expected in zip(values, golden, strict=True):
                torch.testing.assert_close(value, torch.from_numpy(expected), rtol=1e-4, atol=5e-5)


def test_views_are_not_changed_and_extras_survive(goldens: Goldens) -> None:
    views = golden_views(goldens, "mixed")
    for view in views:
        view["transform"] = f"of {view['idx']}"
    before = [(dict(v), v["img"].clone()) for v in views]
    model = EchoModel()
    result = inference(make_pairs(views), model, "cpu", batch_size=4)
    assert sum(model.batches) == 6
    for view, (copy, image) in zip(views, before, strict=True):
        assert view.keys() == copy.keys()
        assert all(view[key] is copy[key] for key in copy)
        assert torch.equal(view["img"], image)
    assert result["view1"]["transform"] == [f"of {i}" for i in (1, 2, 2, 0, 0, 1)]


def test_pairs_of_equal_sizes_are_batched() -> None:
    views = [make_view(torch.rand(1, 3, 16, 32 if i < 3 else 16), i) for i in range(5)]
    pairs = make_pairs(views)
    model = EchoModel()
    result = inference(pairs, model, "cpu", batch_size=3, verbose=False)
    assert sum(model.batches) == 20
    assert max(model.batches) == 3
    assert len(model.batches) == 2 + 2 + 2 + 1  # 6, 6, 6 and 2 pairs of the four size combinations
    for i, (first, _) in enumerate(pairs):
        assert result["view1"]["idx"][i] == first["idx"]
        assert torch.equal(result["pred1"]["pts3d"][i], first["img"][0].permute(1, 2, 0))


def test_make_pairs() -> None:
    views = [{"idx": i} for i in range(3)]
    assert [(a["idx"], b["idx"]) for a, b in make_pairs(views)] == [
        (1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2),
    ]  # fmt: skip
    assert len(make_pairs(views, symmetrize=False)) == 3
    with pytest.raises(InputError, match="swin-3"):
        make_pairs(views, scene_graph="swin-3")
    with pytest.raises(InputError, match="no pairs"):
        inference([], EchoModel(), "cpu")


def test_collate() -> None:
    items = [({"a": np.ones((1, 2)), "b": "x"}, None, [1, 2]), ({"a": np.zeros((2, 2)), "b": "y"}, None, [3])]
    first, none, chained = collate_with_cat(items)
    assert first["a"].shape == (3, 2)
    assert first["b"] == ["x", "y"]
    assert none is None
    assert chained == [1, 2, 3]
    rows = collate_with_cat(items, lists=True)[0]["a"]
    assert [r.tolist() for r in rows] == [[1, 1], [0, 0], [0, 0]]
    assert collate_with_cat([True, False]) == [True, False]
    assert collate_with_cat([1.5, 2]) == [1.5, 2]
