"""Errors, medians, recalls, labels and tables against recorded ones, and at the bounds."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError
from mast3r_visloc.evaluation import (
    DEFAULT_THRESHOLDS,
    FAILED,
    HLOC_THRESHOLDS,
    PoseError,
    parse_thresholds,
    pose_error,
    query_error,
    recall,
    result_label,
    result_table,
    summarize,
    summary_line,
)


@pytest.fixture(scope="module")
def recorded(goldens):
    return json.loads((goldens / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def poses(goldens):
    with np.load(goldens / "evaluation.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def plain(line: str) -> str:
    """A recorded summary without what numpy 2 writes around numbers (trap 25)."""
    return line.replace("np.float64(", "").replace("np.float32(", "").replace(")", "")


def test_errors_are_the_recorded_ones(poses):
    for truth, estimated, position, rotation in zip(
        poses["gt_cam_to_world"],
        poses["pr_cam_to_world"],
        poses["transl_error"],
        poses["angular_error_deg"],
        strict=True,
    ):
        error = pose_error(estimated, truth)
        assert error.position == pytest.approx(position, rel=1e-9, abs=1e-12)
        assert error.rotation == pytest.approx(rotation, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("degrees", [0.0, 1e-9, 1e-6, 0.01, 1.0, 90.0, 179.0, 179.999, 180.0])
def test_small_and_large_angles_are_exact(degrees):
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0.0, 0.8])).as_matrix()
    # Near half a turn the arc sine is flat: 1e-16 of its argument is 1e-6 degrees.
    assert pose_error(turned, np.eye(4)).rotation == pytest.approx(
        degrees, rel=1e-6, abs=3e-6 if degrees > 179 else 1e-15
    )


def test_a_pose_that_is_none_is_refused():
    broken = np.eye(4)
    broken[0, 0] = math.nan
    with pytest.raises(InputError, match="finite 4x4"):
        pose_error(broken, np.eye(4))


def test_failures_are_infinite_and_missing_truth_is_no_error():
    assert query_error(None, np.eye(4)) == FAILED
    assert query_error(np.eye(4), None) is None
    assert query_error(None, None) is None
    shifted = np.eye(4)
    shifted[0, 3] = 2.0
    assert query_error(shifted, None, without_truth="identity") == PoseError(2.0, 0.0)
    assert query_error(None, None, without_truth="identity") == FAILED


@pytest.mark.parametrize("case", ["computed", "exact_thresholds", "with_inf", "all_inf", "even"])
def test_summary_lines_are_the_recorded_ones_with_plain_numbers(recorded, case):
    row = recorded["aggregate"][case]
    errors = [
        PoseError(float(position), float(rotation))
        for position, rotation in zip(row["pose_errors"], row["angular_errors"], strict=True)
    ]
    assert summary_line(summarize("NAME", errors)) == plain(row["string"])


def test_the_kind_of_numbers_does_not_matter(recorded):
    """Upstream's tensors of float32 gave the same line."""
    even = [PoseError(np.float32(0.1 * k), np.float32(k)) for k in (1, 2, 3, 4)]
    assert summary_line(summarize("NAME", even)) == plain(recorded["aggregate"]["even_tensors"]["string"])


def test_both_errors_must_be_strictly_below():
    below = math.nextafter(0.25, 0)
    errors = [
        PoseError(0.25, 1.0),
        PoseError(0.1, 2.0),
        PoseError(below, math.nextafter(2.0, 0)),
        PoseError(below, 2.0),
    ]
    assert recall(errors, (0.25, 2.0)) == 25.0


def test_queries_without_truth_are_left_out_and_counted():
    errors = [PoseError(0.05, 0.5), None, FAILED, None]
    summary = summarize("site", errors, localised=3)
    assert (summary.queries, summary.evaluated, summary.localised, summary.without_truth) == (4, 2, 3, 2)
    assert summary.recalls == (50.0, 50.0, 50.0, 50.0)
    assert summary_line(summary).startswith("site: 4 images (2 without ground truth) - median_pos_error=inf,")
    nothing = summarize("site", [None, None])
    assert nothing.median_position is None
    assert nothing.recalls == ()
    assert summary_line(nothing) == "site: 2 images (2 without ground truth)"
    assert summary_line(summarize("site", [])) == "site: 0 images"


def test_thresholds_of_the_command_line():
    assert parse_thresholds("0.25,2 0.5,5  5,10") == ((0.25, 2), (0.5, 5), (5, 10))
    assert parse_thresholds("hloc") == HLOC_THRESHOLDS
    assert parse_thresholds("hloc")[:2] == ((0.01, 1.0), (0.02, 2.0))
    for text in ("", "0.25", "a,b", "1,2,3", "0,2", "-1,2", "nan,2"):
        with pytest.raises(ConfigError):
            parse_thresholds(text)


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"confidence_threshold": 1.001, "reprojection_error_diag_ratio": 0.008, "output_label": "label"},
         "label_tol_5_conf_1.001_reproj_diag_0.008"),
        ({"confidence_threshold": 1.0, "pixel_tol": 2, "reprojection_error": 3}, "tol_2_conf_1.0_reproj_err_3.0"),
        ({"confidence_threshold": 0.5, "coarse_to_fine": True}, "tol_5_c2f_conf_0.5_reproj_err_5.0"),
        ({"confidence_threshold": 0.5, "coarse_to_fine": True, "homography": True},
         "tol_5_c2f_with_homography_conf_0.5_reproj_err_5.0"),
        ({"confidence_threshold": 0.5, "coarse_to_fine": True, "max_image_size": 336},
         "tol_5_c2f_336_conf_0.5_reproj_err_5.0"),
        ({"confidence_threshold": 0.5, "homography": True}, "tol_5_conf_0.5_reproj_err_5.0"),
        ({"confidence_threshold": 3.0, "matcher": "points3d", "reprojection_error_diag_ratio": 0.008},
         "tol_conf_3.0_reproj_diag_0.008"),
    ],
)  # fmt: skip
def test_labels_of_result_files_are_upstreams(goldens, options, label):
    assert result_label(**options) == label
    recorded_runs = json.loads((goldens / "end_to_end.json").read_text()).values()
    known = {name for run in recorded_runs for name in run["files"]}
    known |= {path.name for path in (goldens / "evaluation_export").iterdir()}
    if "homography" not in options or "coarse_to_fine" in options:
        assert f"{label}_results.txt" in known


def test_a_label_tells_tolerances_that_upstream_has_not() -> None:
    assert result_label(confidence_threshold=1.0, pixel_tol=2.5) == "tol_2.5_conf_1.0_reproj_err_5.0"


def test_a_label_is_no_path():
    with pytest.raises(ConfigError, match="no path"):
        result_label(confidence_threshold=1.0, output_label="../up")


def test_the_table_shows_several_runs():
    one = summarize("coarse", [PoseError(0.2, 1.0), FAILED])
    two = summarize("fine", [PoseError(0.04, 0.2), None])
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(result_table([one, two]))
    shown = console.export_text()
    assert "0.25 m, 2°" in shown
    assert "without truth" in shown
    coarse, fine = (next(line for line in shown.splitlines() if name in line) for name in ("coarse", "fine"))
    assert coarse.split()[:5] == ["coarse", "2", "1", "inf", "inf"]
    assert "50.0 %" in coarse
    assert "100.0 %" in fine
    assert fine.split()[-1] == "1"
    with pytest.raises(InputError, match="other thresholds"):
        result_table([one, summarize("x", [FAILED], ((1, 1),))])
    assert len(DEFAULT_THRESHOLDS) == 4
