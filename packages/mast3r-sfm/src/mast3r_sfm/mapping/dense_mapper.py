"""Dense (DUSt3R) global alignment of one group of connected photos (spec 30 section 9)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mast3r_sfm.dense import (
    DenseAlignment,
    DenseOptions,
    DenseProblem,
    EdgePrediction,
    KnownCameras,
    align_dense,
    complete_depths,
    edges_of,
)
from mast3r_sfm.known_cameras import camera_priors
from mast3r_sfm.predictions import TwoViewPrediction
from mast3r_sfm.progress import shown
from mast3r_sfm.tracks import tracks_from_matches
from mast3r_sfm.view_filters import without_contradictions

from .task import MappingTask, PlacedGroup, placed_image

BYTES_PER_SAMPLE = 200
"""Memory of one sample of one map of a directed edge while it is optimised; measured in the dense problem's
benchmark (90 edges at 512x384: 2.4 GiB)."""


def map_dense(task: MappingTask, group: Sequence[int], component: int) -> PlacedGroup:
    """Place one group.

    Args:
        task: the whole.
        group: numbers of its images, two or more.
        component: its own number.
    """
    images, matches = task.images.subset(group), task.gathered.within(list(group))
    row = {number: k for k, number in enumerate(group)}
    used = [
        index
        for index, pair in enumerate(task.predictions.pairs)
        if pair in task.gathered.matches and row.keys() >= set(pair)
    ]

    def predictions() -> Iterator[TwoViewPrediction]:
        with shown(task.progress, "reading pointmaps", len(used)) as advance:
            for index in used:
                found = task.predictions[index]
                yield replace(found, image0=row[found.image0], image1=row[found.image1])
                advance(1)

    def edges() -> Iterator[EdgePrediction]:
        return edges_of(predictions())

    options, start = task.options.dense, time.perf_counter()
    with task.log.stage("alignment"):
        samples = sum(2 * int(np.prod(task.images[k].shape)) for i in used for k in task.predictions.pairs[i])
        problem = DenseProblem.from_edges(edges(), stride=dense_stride(samples, options.memory_bytes))
        with shown(task.progress, "dense alignment", options.iterations) as advance:

            def step(iteration: int, loss: float) -> None:
                advance(1)
                if task.on_loss is not None:
                    task.on_loss("dense", loss)

            alignment = align_dense(
                problem,
                known=_known(task, group),
                options=DenseOptions(min_confidence=_median_confidence(problem)),
                iterations=options.iterations,
                lr=options.lr,
                schedule=options.schedule,
                on_iteration=step,
            )
        if problem.stride > 1:
            alignment = complete_depths(alignment, problem, edges)
    seconds = time.perf_counter() - start
    with task.log.stage("tracks"):
        placed = tuple(
            placed_image(
                image,
                intrinsics=alignment.intrinsics[k].double().cpu().numpy(),
                cam2world=alignment.cam2world[k].double().cpu().numpy(),
                depth=alignment.depths[k].cpu().numpy(),
                confidence=alignment.confidences[k].cpu().numpy() - 1,
                component=component,
            )
            for k, image in enumerate(images)
        )
        if task.options.clean_depth:
            with shown(task.progress, "depth maps", len(placed)) as advance:
                placed = without_contradictions(placed, list(matches), advance=advance)
        tracks = tracks_from_matches(placed, matches, progress=task.progress)
    return PlacedGroup(tuple(group), placed, tracks, _report(alignment, problem, seconds))


def dense_stride(samples: int, memory_bytes: int) -> int:
    """Distance of the pixels that are kept, so that all maps fit into memory.

    Args:
        samples: pixels of all maps of all directed edges together.
        memory_bytes: that they may take.
    """
    return max(1, math.ceil(math.sqrt(samples * BYTES_PER_SAMPLE / memory_bytes)))


def _known(task: MappingTask, group: Sequence[int]) -> KnownCameras | None:
    if task.known is None:
        return None
    priors = camera_priors(task.images.subset(group), task.known, shared_intrinsics=False)
    exact = (priors.focal_sigma == 0)[:, None]  # this alignment knows no priors: a camera is given, or free
    return KnownCameras(
        cam2world=priors.cam2world.float(),
        focals=torch.where(exact, priors.focal[:, None].expand(-1, 2), torch.nan).float(),
        principal_points=torch.where(exact, priors.principal_point, torch.nan).float(),
    )


def _median_confidence(problem: DenseProblem) -> float:
    """Upstream's threshold of 3 for PnP, or the median of networks that are never so sure."""
    confidence = torch.cat([conf.flatten() for conf in problem.confidence_maps])
    usual = DenseOptions().min_confidence
    return usual if bool((confidence > usual).float().mean() > 0.1) else float(confidence.median())


def _report(alignment: DenseAlignment, problem: DenseProblem, seconds: float) -> dict[str, Any]:
    losses = [float(loss) for loss in alignment.losses] + [alignment.final_loss]
    stage = {
        "name": "dense",
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "steps": len(losses) - 1,
        "losses": losses,
        "seconds": seconds,
        "stride": problem.stride,
    }
    return {"solver": "dense", "stages": [stage]}
