"""Upstream's nine processed layouts: what our loaders return for them is what upstream's return (train/datasets)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_model import parse_expression
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.roots import named_roots

FOLDER = Path(__file__).parent / "goldens" / "train" / "datasets"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "datasets.json").read_text())
EXPRESSIONS = sorted({case["expr"] for case in CASES})


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processed")
    with zipfile.ZipFile(FOLDER / "datasets_fixture.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "datasets.npz", allow_pickle=False) as stored:
        return dict(stored)


def build(expression: str, root: Path, extra: str = "") -> Any:
    text = f"{expression.removesuffix(')')}, {extra})" if extra else expression
    with named_roots({expression.split("(")[0]: root}):
        return parse_expression(text).build(("datasets", "transforms"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['case']}-{case['expr'].split('(')[0]}")
def test_items_are_upstreams(case: dict[str, Any], roots: Path, arrays: dict[str, np.ndarray]) -> None:
    dataset = build(case["expr"], roots / case["root"], "require_valid_corres=False")
    assert len(dataset) == case["length"]
    for number, (view, expected) in enumerate(zip(dataset[case["index"]], case["views"], strict=True)):
        prefix = f"{case['case']}.{number}."
        levels = ((view["img"] * 0.5 + 0.5) * 255).round().to(torch.uint8).numpy()
        np.testing.assert_array_equal(levels, arrays[prefix + "img"])
        depth = arrays[prefix + "depthmap"]
        np.testing.assert_allclose(view["depthmap"], depth, rtol=0, atol=1e-6 * np.abs(depth).max())
        np.testing.assert_allclose(view["camera_pose"], expected["camera_pose"], atol=1e-6)
        np.testing.assert_allclose(view["camera_intrinsics"], expected["camera_intrinsics"], atol=1e-4)
        # Upstream calls both views of one frame the same; the network could not tell them apart.
        suffix = f"_{number}" if len({other["instance"] for other in case["views"]}) == 1 else ""
        assert view["instance"] == expected["instance"] + suffix
        for key in ("dataset", "label", "is_metric_scale", "rng"):
            assert view[key] == expected[key], key
        assert list(view["idx"]) == expected["idx"]
        assert view["true_shape"].tolist() == expected["true_shape"]
        assert int(view["valid_mask"].sum()) == expected["n_valid"]
        assert int(view["valid_corres"].sum()) == expected["n_valid_corres"]
        dtypes = {key: dtype for key, dtype in expected["dtypes"].items() if key != "instance"}  # text here
        for key, dtype in dtypes.items():
            assert str(view[key].dtype) == dtype, key


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_recorded_folders_keep_the_contract(expression: str, roots: Path) -> None:
    root = roots / next(case["root"] for case in CASES if case["expr"] == expression)
    assert_conforms(build(expression, root))


@pytest.mark.parametrize("name", sorted({case["expr"].split("(")[0] for case in CASES}))
def test_every_option_works(name: str, roots: Path) -> None:
    case = next(case for case in CASES if case["expr"].startswith(name))
    own = {
        "Habitat512": "1_000_000, split='train', ",
        "StaticThings3D": "",
        "Waymo": "",
    }.get(name, "split='train', ")

    def make(**options: Any) -> Any:
        keywords = ", ".join(f"{key}={value!r}" for key, value in options.items())
        return build(f"{name}({own}{keywords})", roots / case["root"])

    assert_options_work(make, resolution=(64, 48))
