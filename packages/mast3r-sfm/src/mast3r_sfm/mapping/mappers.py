"""Which mapper does it, and group by group."""

from __future__ import annotations

from mast3r_sfm.scene import DroppedImage

from .colmap_mapper import map_colmap
from .sparse_mapper import map_sparse
from .task import MappingTask, Placement


def place_images(task: MappingTask) -> Placement:
    """Place all images that match others, each group of connected ones in a world of its own."""
    groups = task.gathered.groups()
    dropped = tuple(
        DroppedImage(task.images[number].name, task.gathered.why_alone(number))
        for group in groups
        if len(group) < 2
        for number in group
    )
    connected = [group for group in groups if len(group) > 1]
    mapper = task.options.mapper
    if not connected:
        return Placement((), dropped)
    if mapper == "colmap" or mapper == "glomap":
        found = map_colmap(task, mapper, sorted(number for group in connected for number in group))
        return Placement(found.groups, (*dropped, *found.dropped))
    if mapper == "dense":
        from .dense_mapper import map_dense as place  # roma brings torch's compiler, which takes seconds
    else:
        place = map_sparse
    return Placement(tuple(place(task, group, number) for number, group in enumerate(connected)), dropped)
