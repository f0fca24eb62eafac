"""What mast3r-visloc registers, through the same hooks as anybody's plugin."""

from __future__ import annotations

from collections.abc import Mapping

from mast3r_model import hookimpl


@hookimpl
def mast3r_localization_datasets() -> Mapping[str, str]:
    datasets = ("VislocAachenDayNight", "VislocCambridgeLandmarks", "VislocInLoc", "VislocSevenScenes")
    return {name: f"mast3r_visloc.datasets:{name}" for name in datasets} | {
        name: f"mast3r_visloc.maps:{name}" for name in ("ColmapMap", "RgbdFolder")
    }


@hookimpl
def mast3r_pnp_solvers() -> Mapping[str, str]:
    return {
        "poselib": "mast3r_visloc.pnp.poselib_solver:solve_poselib",
        "pycolmap": "mast3r_visloc.pnp.pycolmap_solver:solve_pycolmap",
        "cv2": "mast3r_visloc.pnp.opencv_solver:solve_opencv",
    }
