"""Placed groups as one scene."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mast3r_sfm.photos import ImageSet
from mast3r_sfm.scene import PointCloud, Scene, Tracks

from .task import PlacedGroup, Placement


def join_groups(placement: Placement, images: ImageSet) -> Scene:
    """All groups in one scene, without dense points; photos that were not placed are in ``dropped``."""
    placed = tuple(image for group in placement.groups for image in group.images)
    dropped = (*images.dropped, *placement.dropped)
    return Scene(placed, PointCloud.empty(), _joined_tracks(placement.groups), dropped, {}, _folder(images))


def _joined_tracks(groups: Sequence[PlacedGroup]) -> Tracks:
    first_image = np.cumsum([0, *(len(group.images) for group in groups)])
    first_track = np.cumsum([0, *(len(group.tracks) for group in groups)])
    joined = [group.tracks for group in groups]
    return Tracks(
        positions=np.concatenate([part.positions for part in joined]),
        colors=np.concatenate([part.colors for part in joined]),
        track=np.concatenate([p.track + start for p, start in zip(joined, first_track, strict=False)]),
        image=np.concatenate([p.image + start for p, start in zip(joined, first_image, strict=False)]),
        xy=np.concatenate([part.xy for part in joined]),
        reprojection_error=np.concatenate([part.reprojection_error for part in joined]),
    )


def _folder(images: ImageSet) -> str:
    """The folder that names are relative to, if the first image's path ends with its name."""
    path, name = Path(os.path.abspath(images[0].path)), Path(images[0].name)
    return str(Path(*path.parts[: -len(name.parts)])) if path.parts[-len(name.parts) :] == name.parts else ""
