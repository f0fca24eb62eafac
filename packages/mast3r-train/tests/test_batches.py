"""Collation, symmetrisation and the move to the device (spec 40 section 7)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mast3r_model import InputError, view_to_device
from mast3r_train.batches import collate, symmetrize_batch


def view(number: int, **extra: Any) -> dict[str, Any]:
    return {
        "img": torch.full((3, 2, 4), float(number)),
        "depthmap": np.full((2, 4), number, dtype=np.float32),
        "true_shape": np.array([2, 4], dtype=np.int32),
        "is_metric_scale": True,
        "instance": str(number),
        "idx": (number, 0, number % 2),
        "rng": 2**31 + number,
        **extra,
    }


def test_collate_stacks_and_lists() -> None:
    first, second = collate([[view(0), view(1)], [view(2), view(3)], [view(4), view(5)]])
    assert first["img"].shape == (3, 3, 2, 4)
    assert first["depthmap"].dtype == torch.float32
    assert first["true_shape"].dtype == torch.int32
    assert first["true_shape"].shape == (3, 2)
    assert first["is_metric_scale"].dtype == torch.bool
    assert first["instance"] == ["0", "2", "4"]
    assert [part.tolist() for part in second["idx"]] == [[1, 3, 5], [0, 0, 0], [1, 1, 1]]
    assert second["rng"].tolist() == [2**31 + n for n in (1, 3, 5)]


def test_collate_leaves_out_what_some_sample_lacks() -> None:
    first, _ = collate([[view(0, extra=1), view(1)], [view(2), view(3)]])
    assert "extra" not in first


def test_collate_names_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="'img'"):
        collate([[view(0), view(1)], [view(2, img=torch.zeros(3, 4, 2)), view(3)]])
    with pytest.raises(InputError, match="at least one"):
        collate([])


def test_symmetrize_interleaves_every_key() -> None:
    first, second = symmetrize_batch(*collate([[view(0), view(1)], [view(2), view(3)]]))
    assert first["instance"] == ["0", "1", "2", "3"]
    assert second["instance"] == ["1", "0", "3", "2"]
    assert first["img"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert second["img"][:, 0, 0, 0].tolist() == [1, 0, 3, 2]
    assert first["true_shape"].shape == (4, 2)
    assert [part.tolist() for part in second["idx"]] == [[1, 0, 3, 2], [0, 0, 0, 0], [1, 0, 1, 0]]


def test_only_what_the_model_and_losses_read_moves() -> None:
    batched, _ = collate([[view(0), view(1)]])
    moved = view_to_device(batched, "meta")
    assert moved["img"].device.type == "meta"
    assert moved["depthmap"].device.type == "cpu"
    assert moved["true_shape"].device.type == "cpu"
    assert moved["instance"] == ["0"]
