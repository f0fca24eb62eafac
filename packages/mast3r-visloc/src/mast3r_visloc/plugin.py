"""What mast3r-visloc registers, through the same hooks as anybody's plugin."""

from __future__ import annotations

from collections.abc import Mapping

from mast3r_model import CommandSpec, hookimpl


@hookimpl
def mast3r_commands() -> Mapping[str, CommandSpec]:
    commands = {
        "localize": "Where photos were taken: their poses in a map.",
        "index": "Encode a map's photos once, for quicker queries.",
        "evaluate": "Localise a benchmark's queries, and the table.",
        "merge": "Shards of an evaluation as one run.",
        "prepare": "Prepare a benchmark from its public release.",
        "export": "Poses of a run in the formats of others.",
    }
    return {
        f"visloc {name}": CommandSpec(f"mast3r_visloc.cli:{name}", text, "Localise")
        for name, text in commands.items()
    }


@hookimpl
def mast3r_localization_datasets() -> Mapping[str, str]:
    datasets = ("VislocAachenDayNight", "VislocCambridgeLandmarks", "VislocInLoc", "VislocSevenScenes")
    return {name: f"mast3r_visloc.datasets:{name}" for name in datasets} | {
        name: f"mast3r_visloc.maps.as_dataset:{name}" for name in ("ColmapMap", "RgbdFolder")
    }


@hookimpl
def mast3r_localizers() -> Mapping[str, str]:
    return {"visloc": "mast3r_visloc.localizing.hook:open_localizer"}


@hookimpl
def mast3r_pnp_solvers() -> Mapping[str, str]:
    return {
        "poselib": "mast3r_visloc.pnp.poselib_solver:solve_poselib",
        "pycolmap": "mast3r_visloc.pnp.pycolmap_solver:solve_pycolmap",
        "cv2": "mast3r_visloc.pnp.opencv_solver:solve_opencv",
    }
