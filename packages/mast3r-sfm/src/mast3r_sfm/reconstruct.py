"""From photos to a scene: the whole way on one page (spec 30 section 1).

photos -> pairs -> predictions (cached) -> canonical views -> cameras, depth, tracks (mapper) -> refinement
-> scale -> points
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mast3r_model import AsymmetricCroCo3DStereo, InputError, NothingFoundError

from .choosing import choose_pairs as choose_pairs
from .known_cameras import KnownCameras, check_known, known_poses
from .mapping import (
    MappingTask,
    Placement,
    join_groups,
    network_depth,
    place_images,
    prepare_mapping,
    reconstruction_report,
)
from .options import ReconstructionOptions
from .pairs import Pair
from .photos import ImageSet, open_images
from .points import automatic_confidence, confident_points
from .predictions import Forecast, PredictionCache
from .progress import OnLoss, Progress
from .refinement import RefinementOptions, refine_scene
from .report import StageLog
from .scale import check_distance, set_scale
from .scene import Scene
from .tracks import tracks_from_matches


def reconstruct(
    images: ImageSet | Sequence[str | Path] | str | Path,
    model: AsymmetricCroCo3DStereo,
    *,
    size: int = 512,
    pairs: Sequence[Pair] | None = None,
    known: KnownCameras | None = None,
    cache: Path | str | None = None,
    options: ReconstructionOptions | None = None,
    progress: Progress | None = None,
    on_forecast: Callable[[Forecast], None] | None = None,
    on_partial: Callable[[Scene], None] | None = None,
    on_loss: OnLoss | None = None,
) -> Scene:
    """Cameras, depth and points of photos of one place::

        scene = reconstruct("photos/", load_model())
        scene.save("scene/")

    Args:
        images: a folder, files, or what `open_images` returns.
        model: a network that predicts descriptors.
        size: long side of the network's input in pixels; unused for an `ImageSet`.
        pairs: which photos to match, by their numbers; None: as ``options.graph`` says.
        known: intrinsics and poses that are known.
        cache: folder in which predictions are kept, so that a second run computes nothing twice.
        options: how.
        progress: shows bars of every long part. What is raised from one (see `Advance`) ends the work and
            comes out here; a second run with the same cache goes on with the predictions made until then.
        on_forecast: is told what is ahead before the long part.
        on_partial: is given what can be shown before the end: of each group of photos, cameras and sparse
            points after the coarse alignment (mapper ``sparse``), see `partial_scene`.
        on_loss: is told ``coarse``, ``fine`` or ``dense`` and the loss after every step of an alignment.

    Returns:
        The scene, in metres as the network sees them unless poses or a distance are known. Photos that could
        not be placed are in ``dropped``, groups of photos without matches between them are components of
        their own.

    Raises:
        InputError: fewer than two usable photos, or known cameras that are of none of them.
        NothingFoundError: no two photos match.
    """
    options, log = options or ReconstructionOptions(), StageLog()
    if not isinstance(images, ImageSet):
        inputs = [images] if isinstance(images, (str, Path)) else images
        images = open_images(inputs, size=size, patch_size=model.patch_size, progress=progress)
    check_count(images)
    check_known(images, known)
    check_distance(images, options.known_distance)
    store = PredictionCache(cache)
    with log.stage("pairs"):
        chosen = list(pairs) if pairs is not None else choose_pairs(images, model, store, options, progress)
    task = prepare_mapping(
        images,
        model,
        chosen,
        known=known,
        cache=store,
        options=options,
        log=log,
        progress=progress,
        on_forecast=on_forecast,
        on_partial=on_partial,
        on_loss=on_loss,
    )
    placement = place_images(task)
    if not placement.groups:
        reasons = "; ".join(sorted({f"{drop.name}: {drop.reason}" for drop in placement.dropped})[:3])
        raise NothingFoundError(
            f"no two photos match ({reasons})", "do they show the same place? try --graph complete"
        )
    with log.stage("refinement"):
        scene, refinement = refined(task, placement, join_groups(placement, images))
    scene, scale = set_scale(
        scene,
        [network_depth(task, number) for number in placement.numbers],
        known_poses(images.subset(placement.numbers), known),
        options.known_distance,
    )
    threshold = options.min_confidence
    if threshold is None:
        threshold = automatic_confidence(scene.images)
    scene = replace(scene, points=confident_points(scene.images, threshold))
    decided = {"refinement": refinement, "scale": scale, "min_confidence": threshold}
    return replace(scene, report=reconstruction_report(task, placement, scene) | decided)


def check_count(images: ImageSet) -> None:
    """One photo is not enough.

    Raises:
        InputError: there are fewer than two.
    """
    if len(images) < 2:
        others = "".join(f"; {drop.name} is left out: {drop.reason}" for drop in images.dropped[:3])
        raise InputError(
            f"a reconstruction needs two photos or more, got {len(images)}{others}",
            "give a folder with several photos of one place",
        )


def refined(task: MappingTask, placement: Placement, scene: Scene) -> tuple[Scene, dict[str, Any]]:
    """The scene after bundle adjustment as ``options.refine`` says, and what became of it, ready for JSON."""
    options, row = task.options, {number: k for k, number in enumerate(placement.numbers)}
    if options.refine == "none":
        return scene, {"accepted": False, "reason": "not asked for"}
    matches = {
        (row[i], row[j]): found for (i, j), found in task.gathered.matches.items() if i in row and j in row
    }
    result = refine_scene(
        scene,
        known=task.known,
        shared_intrinsics=options.shared_intrinsics,
        find_tracks=lambda images: tracks_from_matches(images, matches, progress=task.progress),
        options=RefinementOptions(always=options.refine == "ba", free_focals=options.refine == "ba"),
        progress=task.progress,
    )
    return result.scene, result.as_report()
