"""The transforms of pairs for pretraining, against recorded results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model import ConfigError
from mast3r_train.croco import parse_transforms
from mast3r_train.errors import SampleError


@pytest.mark.parametrize("case", range(4))
def test_crops_and_colours_are_the_recorded_ones(goldens: Callable[[str], Path], case: int) -> None:
    arrays = np.load(goldens("train/views/transforms.npz"))
    recorded = json.loads(goldens("train/views/transforms.json").read_text())["croco_pair"][case]
    transform = parse_transforms(recorded["transforms"])
    images = [Image.fromarray(arrays[f"img.{number}"]) for number in range(2)]
    torch.manual_seed(recorded["torch_seed"])
    for number, tensor in enumerate(transform(*images)):
        np.testing.assert_array_equal(tensor.numpy(), arrays[f"pair.{case}.{number}"])


def test_draws_in_the_order_of_the_spec() -> None:
    image1, image2 = Image.new("RGB", (50, 40)), Image.new("RGB", (36, 60))
    torch.manual_seed(5)
    parse_transforms("crop32+acolor")(image1, image2)
    after = torch.rand(1)
    torch.manual_seed(5)
    for high in (40 - 31, 50 - 31, 60 - 31, 36 - 31):
        torch.randint(0, high, (1,))
    for number in range(2):
        if number:
            torch.rand(1)
        torch.randperm(4)
        for _ in range(3):
            torch.empty(1).uniform_(0.6, 1.4)
    assert torch.rand(1) == after


@pytest.mark.parametrize("text", ["crop", "crop0", "crop224+", "pcolor", "crop224 acolor", "", "crop-3"])
def test_unknown_steps_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="unknown step"):
        parse_transforms(text)


def test_steps_are_done_from_left_to_right() -> None:
    transform = parse_transforms(" resize32 + crop32 ")
    image1, image2 = transform(Image.new("RGB", (640, 480)), Image.new("RGB", (20, 90)))
    assert image1.shape == image2.shape == (3, 32, 32)
    assert transform.size == 32
    assert parse_transforms("acolor").size is None
    only_scaled, _ = parse_transforms("resize32")(Image.new("RGB", (64, 48)), Image.new("RGB", (64, 48)))
    assert only_scaled.shape == (3, 32, 43)


def test_an_image_smaller_than_the_crop_is_a_bad_sample() -> None:
    with pytest.raises(SampleError, match="31x64 pixels is too small for crops of 32") as caught:
        parse_transforms("crop32")(Image.new("RGB", (64, 64)), Image.new("RGB", (31, 64)))
    assert "resize" in str(caught.value.hint)
