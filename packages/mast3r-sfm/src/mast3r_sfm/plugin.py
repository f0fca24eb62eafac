"""What mast3r-sfm registers, through the same hooks as anybody's plugin."""

from __future__ import annotations

from collections.abc import Mapping

from mast3r_model import CommandSpec, hookimpl


@hookimpl
def mast3r_commands() -> Mapping[str, CommandSpec]:
    return {
        "pairs": CommandSpec("mast3r_sfm.pairs_cli:pairs", "Choose which photos to match.", "Reconstruct"),
        "sfm": CommandSpec(
            "mast3r_sfm.cli:sfm", "Photos or a video to cameras, depth and points.", "Reconstruct"
        ),
        "colmap": CommandSpec(
            "mast3r_sfm.colmap_cli:colmap", "Match photos, and map them by COLMAP or GLOMAP.", "Reconstruct"
        ),
        "export": CommandSpec(
            "mast3r_sfm.export_cli:export", "Write a saved scene in other formats.", "Reconstruct"
        ),
        "view": CommandSpec("mast3r_sfm.viewer.cli:view", "Look at a scene in the browser.", "Show"),
        "evaluate scenes": CommandSpec(
            "mast3r_sfm.evaluation.cli:evaluate_scenes",
            "Measure a reconstruction's cameras against known ones.",
            "Evaluate",
        ),
    }


@hookimpl
def mast3r_pair_graphs() -> Mapping[str, str]:
    graphs = "mast3r_sfm.pairs.graphs"
    return {
        "auto": f"{graphs}:automatic",
        "complete": f"{graphs}:complete",
        "logwin": f"{graphs}:logarithmic_window",
        "oneref": f"{graphs}:one_reference",
        "retrieval": f"{graphs}:retrieval",
        "swin": f"{graphs}:sliding_window",
    }


@hookimpl
def mast3r_engines() -> Mapping[str, str]:
    return {
        "local": "mast3r_sfm.engines.local:LocalEngine",
        "multi-gpu": "mast3r_sfm.engines.processes:ProcessesEngine",
        "ray": "mast3r_sfm.engines.ray_cluster:RayEngine",
    }


@hookimpl
def mast3r_exporters() -> Mapping[str, str]:
    return {
        "cameras": "mast3r_sfm.exports.camera_list:write_camera_list",
        "colmap": "mast3r_sfm.exports.colmap_model:write_colmap",
        "depth": "mast3r_sfm.exports.depth_maps:write_depth_maps",
        "glb": "mast3r_sfm.exports.glb:write_glb",
        "nerfstudio": "mast3r_sfm.exports.nerfstudio:write_nerfstudio",
        "ply": "mast3r_sfm.exports.ply:write_ply",
        "report": "mast3r_sfm.exports.report_page:write_report",
    }
