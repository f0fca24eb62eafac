"""ImgNorm and ColorJitter against recorded results, draws included."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model import InputError, parse_expression
from mast3r_train.transforms import (
    ColorJitter,
    ImgNorm,
    JitterFactors,
    JitterRanges,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)

Goldens = Callable[[str], Path]


def _golden(goldens: Goldens) -> tuple[dict, dict]:
    arrays = dict(np.load(goldens("train/views/transforms.npz")))
    return arrays, json.loads(goldens("train/views/transforms.json").read_text())


def _photo(arrays: dict, number: int) -> Image.Image:
    return Image.fromarray(arrays[f"img.{number}"])


def _levels(image: torch.Tensor) -> np.ndarray:
    return ((image * 0.5 + 0.5) * 255).round().to(torch.uint8).numpy()


def test_img_norm_is_the_recorded_tensor(goldens: Goldens) -> None:
    arrays, _ = _golden(goldens)
    image = ImgNorm(_photo(arrays, 0))
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    np.testing.assert_array_equal(image.numpy(), arrays["imgnorm.0"])


@pytest.mark.parametrize("case", range(8))
def test_color_jitter_is_the_recorded_image(goldens: Goldens, case: int) -> None:
    arrays, cases = _golden(goldens)
    recorded = cases["color_jitter"][case]
    torch.manual_seed(recorded["torch_seed"])
    drawn = ColorJitter.ranges.draw()
    assert drawn == JitterFactors(
        tuple(recorded["order"]),
        **{key: recorded[key] for key in ("brightness", "contrast", "saturation", "hue")},
    )
    torch.manual_seed(recorded["torch_seed"])
    image = ColorJitter(_photo(arrays, recorded["image"]))
    np.testing.assert_array_equal(_levels(image), arrays[f"jitter.{case}"])


def test_neutral_amounts_change_nothing(goldens: Goldens) -> None:
    photo = _photo(_golden(goldens)[0], 0)
    for change in (adjust_brightness, adjust_contrast, adjust_saturation):
        np.testing.assert_array_equal(np.asarray(change(photo, 1.0)), np.asarray(photo))
    # HSV in 8 bits does not give every colour back.
    turned = np.asarray(adjust_hue(photo, 0.0)).astype(int)
    assert np.abs(turned - np.asarray(photo)).max() <= 6


def test_hue_turns_red_to_blue_and_green() -> None:
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    assert np.asarray(adjust_hue(red, 1 / 3))[0, 0].argmax() == 1
    assert np.asarray(adjust_hue(red, -1 / 3))[0, 0].argmax() == 2


def test_a_range_of_none_is_not_drawn() -> None:
    torch.manual_seed(3)
    drawn = JitterRanges(contrast=(0.9, 1.1)).draw()
    after = torch.rand(1)
    torch.manual_seed(3)
    torch.randperm(4)
    assert drawn.contrast == float(torch.empty(1).uniform_(0.9, 1.1))
    assert torch.rand(1) == after
    assert drawn.brightness is drawn.saturation is drawn.hue is None


def test_expressions_name_the_objects_and_workers_can_have_them() -> None:
    for name, transform in (("ImgNorm", ImgNorm), ("ColorJitter", ColorJitter)):
        assert parse_expression(name).build(("transforms",)) is transform
        assert repr(pickle.loads(pickle.dumps(transform))) == name  # noqa: S301 - our own bytes


def test_other_than_rgb_is_refused() -> None:
    with pytest.raises(InputError, match="mode L"):
        ImgNorm(Image.new("L", (4, 4)))
