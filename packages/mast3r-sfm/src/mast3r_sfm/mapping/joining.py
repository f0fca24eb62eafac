"""Placed groups as one scene."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mast3r_sfm.photos import ImageSet
from mast3r_sfm.scene import PointCloud, Scene
from mast3r_sfm.tracks import join_tracks

from .task import Placement


def join_groups(placement: Placement, images: ImageSet) -> Scene:
    """All groups in one scene, without dense points; photos that were not placed are in ``dropped``."""
    placed = tuple(image for group in placement.groups for image in group.images)
    dropped = (*images.dropped, *placement.dropped)
    starts = np.cumsum([0, *(len(group.images) for group in placement.groups)])
    tracks = join_tracks(
        [
            (group.tracks, range(start, start + len(group.images)))
            for group, start in zip(placement.groups, starts, strict=False)
        ]
    )
    return Scene(placed, PointCloud.empty(), tracks, dropped, {}, _folder(images))


def _folder(images: ImageSet) -> str:
    """The folder that names are relative to, if the first image's path ends with its name."""
    path, name = Path(os.path.abspath(images[0].path)), Path(images[0].name)
    return str(Path(*path.parts[: -len(name.parts)])) if path.parts[-len(name.parts) :] == name.parts else ""
