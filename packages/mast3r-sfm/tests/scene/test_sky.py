"""Sky masks against the goldens of spec 30 section 12.2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_sfm.sky import segment_sky


@pytest.mark.parametrize("number", [0, 1, 2])
def test_masks_equal_the_goldens(goldens: Callable[[str], Path], number: int) -> None:
    golden = np.load(goldens("sfm/export/export.npz"))
    mask = segment_sky(golden[f"sky_img_{number}"])
    assert (mask != golden[f"sky_mask_{number}"]).mean() <= 0.005


def test_no_sky_at_all() -> None:
    assert not segment_sky(np.zeros((20, 30, 3), np.uint8)).any()


def test_other_images_are_refused() -> None:
    with pytest.raises(InputError, match="uint8"):
        segment_sky(np.zeros((20, 30, 3), np.float32))
