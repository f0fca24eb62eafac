"""COLMAP's mappers (spec 30 section 11): cameras and points are COLMAP's, depth is the network's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from mast3r_sfm.colmap.depth_scale import depth_scale
from mast3r_sfm.colmap.mapping import Mapper
from mast3r_sfm.colmap.network_mapping import ColmapGroup, ColmapOptions, map_with_colmap
from mast3r_sfm.scene import DroppedImage

from .task import MappingTask, PlacedGroup, network_depth, placed_image


def place_with_colmap(task: MappingTask) -> tuple[tuple[PlacedGroup, ...], tuple[DroppedImage, ...]]:
    """Place all images at once: COLMAP finds the groups by itself.

    Worlds keep COLMAP's scale; the network's depth of every image is scaled so that it meets COLMAP's points.

    Args:
        task: the whole; ``task.options.mapper`` is ``colmap`` or ``glomap``.

    Returns:
        The groups, the largest first, and the images that COLMAP could not place.
    """
    used = [number for number, view in enumerate(task.gathered.views) if view is not None]
    alone = [number for number in range(len(task.images)) if number not in used]
    row = {number: k for k, number in enumerate(used)}
    matches = {(row[i], row[j]): found for (i, j), found in task.gathered.matches.items()}
    with task.log.stage("alignment"):
        placement = map_with_colmap(
            task.images.subset(used),
            matches,
            known=task.known,
            shared_intrinsics=task.options.shared_intrinsics,
            focal_guesses=[view.focal for view in task.views_of(used)],
            options=ColmapOptions(mapper=cast(Mapper, task.options.mapper)),
        )
    groups = tuple(
        _placed(task, [used[k] for k in group.numbers], group, component)
        for component, group in enumerate(placement.groups)
    )
    reasons = (DroppedImage(task.images[k].name, task.gathered.why_alone(k)) for k in alone)
    return groups, (*placement.dropped, *reasons)


def _placed(task: MappingTask, numbers: Sequence[int], group: ColmapGroup, component: int) -> PlacedGroup:
    """A group with the network's depth, in COLMAP's units."""
    depths = [network_depth(task, number) for number in numbers]
    transforms = [task.images[number].transform for number in numbers]
    scale = depth_scale(group, depths, transforms)
    views = task.views_of(numbers)
    placed = tuple(
        placed_image(
            task.images[number],
            intrinsics=transforms[k].intrinsics_to_network(group.intrinsics[k]),
            cam2world=group.cam2world[k],
            depth=depths[k] * (scale.images[k] / scale.world),
            confidence=views[k].conf.cpu().numpy(),
            component=component,
        )
        for k, number in enumerate(numbers)
    )
    error = group.tracks.reprojection_error
    report = {
        "solver": task.options.mapper,
        "stages": [],
        "points": len(group.tracks),
        "mean_reprojection_error": float(np.mean(error)) if len(error) else None,
    }
    return PlacedGroup(tuple(numbers), placed, group.tracks, report)
