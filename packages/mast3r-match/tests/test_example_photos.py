"""The README's first command on the example photos: the built-in network matches them rightly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mast3r_match import match_images
from mast3r_model import load_model

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the example photos lie in the repository only")
def test_most_matches_of_the_example_photos_are_right() -> None:
    matches = match_images(
        load_model("nano", device="cpu", dtype="fp32"), EXAMPLES / "a.jpg", EXAMPLES / "b.jpg"
    )
    with np.load(EXAMPLES / "truth.npz") as file:
        truth = {name: file[name].astype(np.float64) for name in file.files}
    column, row = np.round(matches.keypoints0).astype(int).T
    depth = truth["depth0"][row, column]
    homogeneous = np.column_stack([matches.keypoints0, np.ones(len(depth))])
    in_camera0 = homogeneous @ np.linalg.inv(truth["intrinsics0"]).T * depth[:, None]
    between = np.linalg.inv(truth["cam2world1"]) @ truth["cam2world0"]
    projected = (in_camera0 @ between[:3, :3].T + between[:3, 3]) @ truth["intrinsics1"].T
    error = np.linalg.norm(projected[:, :2] / projected[:, 2:] - matches.keypoints1, axis=1)[depth > 0]
    assert len(error) > 2000
    assert np.mean(error < 5) > 0.6
