"""Datasets travel to worker processes, and make the same samples there (spec 40 section 14)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mast3r_train.conformance import assert_conforms
from mast3r_train.loop.building import build_dataset

from .standin_processed import write_everything

EXPRESSIONS = (
    "Habitat512(1_000_000, split='train', {})",
    "BlendedMVS(mask_sky=True, {})",
    "MegaDepth(split='val', {})",
    "ARKitScenes(split='test', {})",
    "Co3d(split='train', mask_bg='rand', {})",
    "StaticThings3D({})",
    "ScanNetpp({})",
    "WildRGBD(split='train', {})",
    "Waymo({})",
    "TartanAir(pairs_subset='', {})",
    "UnrealStereo4K({})",
    "VirtualKitti(optical_center_is_centered=True, {})",
    "NianticMapFree(split='train', {})",
    "DL3DV(split='not-nlight', cosxl_augmentations=None, {})",
)

OPTIONS = "resolution=[(96, 64), (64, 64)], n_corres=16, aug_crop=8, aug_swap=True, seed=3"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_everything(folder)
    return folder


def assert_same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(np.asarray(a[key]), np.asarray(b[key]), err_msg=key)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_sent_dataset_makes_the_same_samples(
    expression: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published spellings, found by the default folders below the data root."""
    monkeypatch.setenv("MAST3R_DATA_ROOT", str(data))
    dataset = build_dataset(expression.format(OPTIONS))
    sent = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    monkeypatch.delenv("MAST3R_DATA_ROOT")
    monkeypatch.chdir(data.parent)
    for item in ((len(dataset) - 1, 1), (0, 0)):
        assert_same(dataset[item], sent[item])
    assert repr(dataset) == repr(sent)
    assert_conforms(dataset, samples=2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_worker_processes(method: str, data: Path) -> None:
    terms = (
        f"Co3d(split='train', ROOT={str(data / 'co3d_processed')!r}, {OPTIONS})",
        f"BlendedMVS(ROOT={str(data / 'blendedmvs_processed')!r}, {OPTIONS})",
    )
    dataset = build_dataset("4 @ ({})".format(" + ".join(terms)))
    items = [(number, 1) for number in range(4)]
    loader: Any = DataLoader(
        dataset, sampler=items, batch_size=None, num_workers=2, multiprocessing_context=method
    )
    for item, made in zip(items, loader, strict=True):
        assert_same(dataset[item], [{k: _plain(v) for k, v in view.items()} for view in made])


def _plain(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) else value
