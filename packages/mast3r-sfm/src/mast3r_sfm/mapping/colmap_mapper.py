"""COLMAP's incremental or global mapper on the network's matches (spec 30 section 11)."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from mast3r_sfm.colmap.depth_scale import depth_scale
from mast3r_sfm.colmap.mapping import Mapper
from mast3r_sfm.colmap.network_mapping import ColmapGroup, ColmapOptions, map_with_colmap
from mast3r_sfm.progress import shown
from mast3r_sfm.scene import DroppedImage
from mast3r_sfm.view_filters import without_contradictions

from .task import MappingTask, PlacedGroup, Placement, network_depth, placed_image


def map_colmap(task: MappingTask, mapper: Mapper, connected: list[int]) -> Placement:
    """Place images; COLMAP itself finds which of them belong together.

    Depth is the network's, scaled so that it meets COLMAP's points.

    Args:
        task: the whole.
        mapper: ``colmap`` or ``glomap``.
        connected: numbers of the images that match others.
    """
    start = time.perf_counter()
    with task.log.stage("alignment"):
        found = map_with_colmap(
            task.images.subset(connected),
            task.gathered.within(connected),
            known=task.known,
            shared_intrinsics=task.options.shared_intrinsics,
            focal_guesses=[view.focal for view in task.views_of(connected)],
            options=ColmapOptions(mapper=mapper),
            progress=task.progress,
        )
    seconds = time.perf_counter() - start
    groups = []
    with task.log.stage("depth"):
        for component, group in enumerate(found.groups):
            numbers = tuple(connected[number] for number in group.numbers)
            placed = _placed(task, replace(group, numbers=numbers), component)
            groups.append(replace(placed, report={"solver": mapper, "stages": [], "seconds": seconds}))
    dropped = tuple(DroppedImage(drop.name, f"{mapper} did not place it") for drop in found.dropped)
    return Placement(tuple(groups), dropped)


def _placed(task: MappingTask, group: ColmapGroup, component: int) -> PlacedGroup:
    """A model of COLMAP in the network's metres, with depth."""
    images = task.images.subset(group.numbers)
    depths = [network_depth(task, number) for number in group.numbers]
    scale = depth_scale(group, depths, [image.transform for image in images])
    cam2world = group.cam2world.copy()
    cam2world[:, :3, 3] *= scale.world
    views = task.views_of(group.numbers)
    placed = tuple(
        placed_image(
            image,
            intrinsics=image.transform.intrinsics_to_network(group.intrinsics[k]),
            cam2world=cam2world[k],
            depth=(depths[k] * scale.images[k]).astype(np.float32),
            confidence=views[k].conf.cpu().numpy(),
            component=component,
        )
        for k, image in enumerate(images)
    )
    if task.options.clean_depth:
        pairs = list(task.gathered.within(list(group.numbers)))
        with shown(task.progress, "depth maps", len(placed)) as advance:
            placed = without_contradictions(placed, pairs, advance=advance)
    tracks = replace(group.tracks, positions=group.tracks.positions * scale.world)
    return PlacedGroup(group.numbers, placed, tracks)
