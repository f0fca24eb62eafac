"""Sparse global alignment of one group of connected photos (spec 30 sections 5 to 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mast3r_sfm.canonical import CanonicalView
from mast3r_sfm.known_cameras import camera_priors
from mast3r_sfm.photos import ImageSet
from mast3r_sfm.progress import shown, stage_bars
from mast3r_sfm.sparse import (
    Alignment,
    CameraPriors,
    DensePoints,
    SparseProblem,
    align,
    build_problem,
    dense_points,
)
from mast3r_sfm.tracks import tracks_from_matches

from .partial import partial_scene
from .task import MappingTask, PlacedGroup, placed_image

ALIGNMENT_BARS = {"coarse": "coarse alignment", "fine": "fine alignment"}


def map_sparse(task: MappingTask, group: Sequence[int], component: int) -> PlacedGroup:
    """Place one group.

    Args:
        task: the whole.
        group: numbers of its images, two or more.
        component: its own number.
    """
    options, images, views = task.options, task.images.subset(group), task.views_of(group)
    matches = task.gathered.within(list(group))
    row = {number: k for k, number in enumerate(group)}
    cross = task.gathered.cross_pointmaps
    with task.log.stage("alignment"):
        problem = build_problem(
            views,
            list(matches),
            list(matches.values()),
            cross_pointmaps={
                (row[i], row[j]): points for (i, j), points in cross.items() if i in row and j in row
            },
            matching_conf_thr=options.matching_confidence,
        )
        priors = camera_priors(images, task.known, shared_intrinsics=options.shared_intrinsics)
        alignment = align_group(task, images, problem, priors, component)
    with task.log.stage("depth"):
        points = lift_group(task, views, alignment, problem)
        placed = tuple(
            placed_image(
                image,
                intrinsics=alignment.intrinsics[k].cpu().numpy(),
                cam2world=alignment.cam2world[k].cpu().numpy(),
                depth=points[k].depth.cpu().numpy(),
                confidence=points[k].conf.cpu().numpy(),
                component=component,
            )
            for k, image in enumerate(images)
        )
    with task.log.stage("tracks"):
        tracks = tracks_from_matches(placed, matches, progress=task.progress)
    return PlacedGroup(tuple(group), placed, tracks, alignment_report(alignment))


def align_group(
    task: MappingTask, images: ImageSet, problem: SparseProblem, priors: CameraPriors, component: int
) -> Alignment:
    """Align, with bars, and tell of what can be shown after the coarse stage.

    Args:
        task: how.
        images: of the group.
        problem: their matches and canonical views.
        priors: what is known of their cameras.
        component: number of the group.
    """

    def tell(coarse: Alignment) -> None:
        if task.on_partial is not None:
            task.on_partial(partial_scene(images, coarse, problem, component))

    with stage_bars(task.progress, ALIGNMENT_BARS) as step:
        return align(
            problem,
            solver=task.options.solver,
            options=task.options.align,
            priors=priors,
            progress=step,
            on_coarse=tell,
            on_loss=task.on_loss,
        )


def lift_group(
    task: MappingTask, views: Sequence[CanonicalView], alignment: Alignment, problem: SparseProblem
) -> list[DensePoints]:
    """A point for every pixel of aligned images, with a bar."""
    with shown(task.progress, "depth maps", len(views)) as advance:
        return dense_points(
            views, alignment, clean=task.options.clean_depth, pairs=problem.pairs, advance=advance
        )


def alignment_report(alignment: Alignment) -> dict[str, Any]:
    """Losses and times of an alignment, ready for JSON."""
    return {
        "solver": alignment.solver,
        "stages": [
            {
                "name": stage.name,
                "first_loss": float(stage.losses[0]),
                "last_loss": float(stage.losses[-1]),
                "steps": len(stage.losses),
                "losses": [float(loss) for loss in stage.losses],
                "seconds": stage.seconds,
            }
            for stage in alignment.stages
        ],
    }
