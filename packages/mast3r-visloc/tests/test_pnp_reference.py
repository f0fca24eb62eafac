"""PnP as upstream calls it, against what upstream returned (spec 50 A7)."""

from __future__ import annotations

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.pnp import find_inliers, run_pnp

from .pnp_cases import golden_arrays, golden_settings, pose_difference

SETTINGS = golden_settings()
MODES = ("cv2", "poselib", "pycolmap")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", list(SETTINGS))
def test_recorded_poses(name: str, mode: str) -> None:
    case, arrays = SETTINGS[name], golden_arrays(name)
    success, pose = run_pnp(
        arrays["pts2d"],
        arrays["pts3d"],
        arrays["K"],
        case["distortion"],
        mode,  # type: ignore[arg-type]
        case["reprojection_error"],
        tuple(case["img_size"]),
    )
    recorded = case["results"][mode]
    assert success == recorded["success"]
    if not success:
        assert pose is None
        return
    assert pose is not None
    assert pose.dtype == np.float64
    theirs = arrays[f"pose_{mode}"]
    deviation = np.array(recorded["max_dev_over_6_permutations"])
    tolerance = np.maximum(3 * deviation, [1e-6, 1e-5])
    if (np.array(pose_difference(pose, theirs)) <= tolerance).all():
        return
    width, height = case["img_size"]
    camera = Camera.from_intrinsics(arrays["K"], (height, width), case["distortion"] or ())
    ours_count, their_count = (
        find_inliers(
            np.linalg.inv(found), arrays["pts2d"], arrays["pts3d"], camera, case["reprojection_error"]
        ).sum()
        for found in (pose, theirs)
    )
    assert mode == "pycolmap", "only pycolmap was recorded with another version"
    assert ours_count >= their_count
    assert pose_difference(pose, theirs) < (1e-3, 1e-2)


def test_settings_that_cannot_be() -> None:
    arrays = golden_arrays("clean")
    points = (arrays["pts2d"], arrays["pts3d"], arrays["K"])
    with pytest.raises(InputError, match="unknown PnP mode 'opencv'"):
        run_pnp(*points, None, "opencv", 5.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k1, k2, p1, p2, got 5"):
        run_pnp(*points, [0.0] * 5, "cv2", 5.0)
    with pytest.raises(InputError, match="needs the size"):
        run_pnp(*points, None, "pycolmap", 5.0)


def test_poselib_guesses_the_size_and_takes_arrays() -> None:
    """Upstream added a numpy distortion to the intrinsics instead of appending it (trap 13)."""
    case, arrays = SETTINGS["noise1_out30_k1"], golden_arrays("noise1_out30_k1")
    success, pose = run_pnp(
        arrays["pts2d"], arrays["pts3d"], arrays["K"], np.array(case["distortion"]), "poselib", 5.0
    )
    assert success
    assert pose is not None
    assert pose_difference(pose, arrays["pose_poselib"]) < (1e-6, 1e-5)
