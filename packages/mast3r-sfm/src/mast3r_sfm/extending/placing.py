"""New photos placed in the worlds of a scene, or in worlds of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mast3r_match import Correspondences
from mast3r_sfm.canonical import CanonicalView
from mast3r_sfm.known_cameras import camera_priors, known_poses
from mast3r_sfm.mapping import (
    Gathered,
    MappingTask,
    PlacedGroup,
    Placement,
    align_group,
    alignment_report,
    join_groups,
    lift_group,
    map_sparse,
    network_depth,
    placed_image,
)
from mast3r_sfm.pairs import Pair
from mast3r_sfm.scale import set_scale
from mast3r_sfm.scene import DroppedImage, SceneImage
from mast3r_sfm.sparse import CameraPriors, build_problem
from mast3r_sfm.verification import LEAST_INLIERS

from .joined import JoinedPhotos
from .stored import has_depth, stored_view, with_stored_cameras
from .worlds import Worlds, find_worlds


@dataclass(frozen=True, eq=False)
class Additions:
    """Where new photos are.

    Attributes:
        placed: new photos by number.
        matches: between photos of one world, with a new photo each; network pixels.
        dropped: new photos that are in no world.
        bridges: pairs that match but connect two worlds.
        reports: of the alignments.
        scales: of the groups that are worlds of their own, see `set_scale`.
    """

    placed: dict[int, SceneImage]
    matches: dict[Pair, Correspondences]
    dropped: tuple[DroppedImage, ...]
    bridges: tuple[Pair, ...]
    reports: list[dict[str, Any]]
    scales: list[dict[str, Any]]


def place_new(task: MappingTask, joined: JoinedPhotos) -> Additions:
    """Place all new photos that match others.

    Args:
        task: all photos, with predictions of the pairs that have a new one.
        joined: the same photos.
    """
    stored = joined.scene.images
    matches = _usable_matches(task, stored)
    strength = {pair: float(found.confidence.sum()) for pair, found in matches.items()}
    worlds = find_worlds(strength, [image.component for image in stored], len(task.images))
    matches = {pair: found for pair, found in matches.items() if pair not in set(worlds.bridges)}
    placed: dict[int, SceneImage] = {}
    reports = []
    for component, numbers in worlds.joined:
        added, report = _place_in_world(task, stored, matches, numbers, component)
        placed |= added
        reports.append(report)
    apart, apart_reports, scales = _place_apart(task, worlds, matches, _next_component(stored))
    placed |= apart
    alone = [number for number in joined.new if number not in placed]
    return Additions(
        placed=placed,
        matches=matches,
        dropped=tuple(DroppedImage(task.images[k].name, _why_not(task, k)) for k in alone),
        bridges=worlds.bridges,
        reports=reports + apart_reports,
        scales=scales,
    )


def _usable_matches(task: MappingTask, stored: Sequence[SceneImage]) -> dict[Pair, Correspondences]:
    """Matches that can place something: surer than asked for, and on old photos where these have depth."""
    options, usable = task.options, [has_depth(image) for image in stored]
    least = LEAST_INLIERS if options.verify else 1
    kept = {}
    for pair, found in task.gathered.matches.items():
        keep = found.confidence >= 0
        for number, xy in zip(pair, (found.xy0, found.xy1), strict=True):
            if number < len(stored):
                x, y = xy.round().long().unbind(-1)
                keep &= usable[number][y, x]
        chosen = Correspondences(found.xy0[keep], found.xy1[keep], found.confidence[keep])
        sure = float(found.confidence.max()) > options.matching_confidence
        if sure and len(chosen.confidence) >= least:
            kept[pair] = chosen
    return kept


def _place_in_world(
    task: MappingTask,
    stored: Sequence[SceneImage],
    matches: Mapping[Pair, Correspondences],
    numbers: Sequence[int],
    component: int,
) -> tuple[dict[int, SceneImage], dict[str, Any]]:
    """Place connected photos of which some have a place; only the others are returned.

    The old photos' cameras and sizes are kept. Their depth may give way a little, so that it does not bend
    the new cameras; but what comes out of that is not looked at.
    """
    options = task.options
    subsample = options.prediction.matching.subsample or 8
    old = [stored[number] if number < len(stored) else None for number in numbers]
    views = [
        _view_of(task, number) if image is None else stored_view(image, subsample)
        for number, image in zip(numbers, old, strict=True)
    ]
    within = _within(matches, numbers)
    with task.log.stage("alignment"):
        problem = build_problem(views, list(within), list(within.values()))
        images = task.images.subset(numbers)
        alignment = align_group(task, images, problem, _priors(task, numbers, old), component)
    with task.log.stage("depth"):
        points = lift_group(task, views, alignment, problem)
    placed = {
        number: placed_image(
            task.images[number],
            intrinsics=alignment.intrinsics[k].cpu().numpy(),
            cam2world=alignment.cam2world[k].cpu().numpy(),
            depth=points[k].depth.cpu().numpy(),
            confidence=points[k].conf.cpu().numpy(),
            component=component,
        )
        for k, number in enumerate(numbers)
        if old[k] is None
    }
    return placed, alignment_report(alignment) | {"added_to": component}


def _view_of(task: MappingTask, number: int) -> CanonicalView:
    (view,) = task.views_of([number])
    return view


def _within(matches: Mapping[Pair, Correspondences], numbers: Sequence[int]) -> dict[Pair, Correspondences]:
    row = {number: k for k, number in enumerate(numbers)}
    return {(row[i], row[j]): found for (i, j), found in matches.items() if i in row and j in row}


def _priors(task: MappingTask, numbers: Sequence[int], old: Sequence[SceneImage | None]) -> CameraPriors:
    """What is known of new photos, and all of old ones."""
    free = camera_priors(task.images.subset(numbers), task.known, shared_intrinsics=False)
    priors = with_stored_cameras(free, old)
    if not task.options.shared_intrinsics:
        return priors
    # The old photos' camera is known: new ones that share it have it.
    camera = next(image for image in old if image is not None)
    focal, point = priors.focal.clone(), priors.principal_point.clone()
    for k, number in enumerate(numbers):
        transform = task.images[number].transform
        if old[k] is None and bool(focal[k].isnan()) and transform.original_shape == camera.original_shape:
            K = transform.intrinsics_to_network(camera.intrinsics)
            focal[k] = float(np.sqrt(K[0, 0] * K[1, 1]))
            point[k, 0], point[k, 1] = float(K[0, 2]), float(K[1, 2])
    return replace(priors, focal=focal, principal_point=point)


def _place_apart(
    task: MappingTask, worlds: Worlds, matches: Mapping[Pair, Correspondences], component: int
) -> tuple[dict[int, SceneImage], list[dict[str, Any]], list[dict[str, Any]]]:
    """Groups of new photos that match nothing of the scene: worlds of their own, in the network's metres."""
    if not worlds.apart:
        return {}, [], []
    own = replace(task, gathered=replace(task.gathered, matches=dict(matches)))
    groups: list[PlacedGroup] = [
        map_sparse(own, list(numbers), component + k) for k, numbers in enumerate(worlds.apart)
    ]
    placement = Placement(tuple(groups), ())
    scene, scales = set_scale(
        join_groups(placement, task.images),
        [network_depth(task, number) for number in placement.numbers],
        known_poses(task.images.subset(placement.numbers), task.known),
        None,
    )
    return dict(zip(placement.numbers, scene.images, strict=True)), [g.report for g in groups], scales


def _next_component(stored: Sequence[SceneImage]) -> int:
    return 1 + max((image.component for image in stored), default=-1)


def _why_not(task: MappingTask, number: int) -> str:
    gathered: Gathered = task.gathered
    if any(number in pair for pair in gathered.matches):
        return "it matches other photos only where these have no sure depth"
    return gathered.why_alone(number)
