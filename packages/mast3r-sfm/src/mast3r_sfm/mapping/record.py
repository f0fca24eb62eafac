"""What a reconstruction did, ready for JSON."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from mast3r_sfm.pairs import Pair
from mast3r_sfm.scene import Scene

from .task import MappingTask, Placement

_VERSIONS_OF = ("mast3r-model", "mast3r-match", "mast3r-sfm", "torch", "pycolmap")


def reconstruction_report(task: MappingTask, placement: Placement, scene: Scene) -> dict[str, Any]:
    """What happened, ready for JSON."""
    images, gathered, tracks = task.images, task.gathered, scene.tracks
    return {
        "images": len(images) + len(images.dropped),
        "placed": len(scene.images),
        "components": [[image.name for image in group.images] for group in placement.groups],
        "dropped": {drop.name: drop.reason for drop in scene.dropped},
        "pairs": [_pair_report(task, pair) for pair in task.predictions.pairs],
        "mapper": task.options.mapper,
        "alignment": [group.report for group in placement.groups],
        "tracks": {
            "count": len(tracks),
            "observations": len(tracks.track),
            "mean_reprojection_error": float(tracks.reprojection_error.mean()) if len(tracks.track) else None,
        },
        "stages": task.log.as_report(),
        "versions": {name: version(name) for name in _VERSIONS_OF},
        "options": {
            "graph": task.options.graph,
            "solver": task.options.solver,
            "engine": task.options.engine,
            "matched_pairs": len(gathered.matches),
        },
    }


def _pair_report(task: MappingTask, pair: Pair) -> dict[str, Any]:
    found, check = task.gathered.matches.get(pair), task.gathered.checks.get(pair)
    report: dict[str, Any] = {"image0": task.images[pair[0]].name, "image1": task.images[pair[1]].name}
    count = 0 if found is None else len(found.confidence)
    if check is not None:
        report |= {
            "inliers": int(check.inliers.sum()),
            "inlier_share": check.share,
            "same_place": check.passed,
        }
        count = len(check.inliers)
    return report | {"matches": count}
