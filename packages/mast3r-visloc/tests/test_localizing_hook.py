"""The package's localizer as other programs find it: by the hook ``mast3r_localizers``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_model import InputError, registry
from mast3r_visloc import Localizer, pose_error, read_map
from mast3r_visloc.localizing.hook import REASONS
from mast3r_visloc.poses import Failure

from .colour_network import ColourNetwork
from .painted_wall import QUERIES


def test_photos_are_localised_by_name(wall: Path) -> None:
    factory = registry("localizers")["visloc"]
    assert callable(factory)
    opened = factory(wall / "map", ColourNetwork(128))
    try:
        found = opened.localize(wall / "queries" / QUERIES[0].name)
    finally:
        opened.close()
    assert found.success
    assert found.reason is None
    assert found.num_inliers > 12
    assert pose_error(found.cam2world, QUERIES[0].pose).below((0.5, 3.0))  # no focal length is given
    with Localizer(read_map(wall / "map"), ColourNetwork(128)) as direct:
        pose = direct.localize(wall / "queries" / QUERIES[0].name)
    np.testing.assert_array_equal(found.cam2world, pose.cam2world)
    np.testing.assert_array_equal(found.intrinsics, pose.camera.intrinsics)


def test_a_failure_says_why_in_words(wall: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (128, 96), (20, 20, 250)).save(other)
    factory = registry("localizers")["visloc"]
    assert callable(factory)
    opened = factory(wall / "map", ColourNetwork(128))
    found = opened.localize(other)
    opened.close()
    assert not found.success
    assert found.cam2world is None
    assert found.reason in REASONS.values()
    with pytest.raises(InputError):
        factory(tmp_path, ColourNetwork(128))


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(Failure.__args__)
