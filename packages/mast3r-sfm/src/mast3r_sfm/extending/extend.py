"""Photos for a finished scene: the whole way on one page, beside `reconstruct`.

new photos -> pairs with a new photo each -> predictions (cached) -> cameras and depth of the new photos in
the world that the old ones hold -> tracks of all -> refinement of the new -> points
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mast3r_model import AsymmetricCroCo3DStereo, InputError
from mast3r_sfm.choosing import choose_pairs
from mast3r_sfm.known_cameras import KnownCameras
from mast3r_sfm.mapping import MappingTask, Placement, prepare_mapping, reconstruction_report
from mast3r_sfm.options import ReconstructionOptions
from mast3r_sfm.pairs import Pair, pair_indices
from mast3r_sfm.photos import ImageSet, open_images
from mast3r_sfm.points import automatic_confidence, confident_points
from mast3r_sfm.predictions import Forecast, PredictionCache
from mast3r_sfm.progress import OnLoss, Progress
from mast3r_sfm.report import StageLog
from mast3r_sfm.scene import DroppedImage, PointCloud, Scene, SceneImage
from mast3r_sfm.sparse import AdamOptions
from mast3r_sfm.tracks import tracks_from_matches

from .joined import JoinedPhotos, join_photos, network_size
from .placing import Additions, place_new
from .refining import refined
from .stored import stored_matches


def extend_scene(
    scene: Scene,
    photos: ImageSet | Sequence[str | Path] | str | Path,
    model: AsymmetricCroCo3DStereo,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    known: KnownCameras | None = None,
    cache: Path | str | None = None,
    options: ReconstructionOptions | None = None,
    progress: Progress | None = None,
    on_forecast: Callable[[Forecast], None] | None = None,
    on_partial: Callable[[Scene], None] | None = None,
    on_loss: OnLoss | None = None,
) -> Scene:
    """Add photos to a finished scene without computing it again::

        scene = extend_scene(Scene.load("scene/"), "more_photos/", load_model(), cache="scene/cache")
        scene.save("scene/")

    Photos that are in the scene already keep camera, depth and confidence to the bit, and the points stay;
    new photos are placed relative to them, in their world. Only pairs with a new photo are predicted. Tracks
    are made anew from the old ones' observations and the new matches, so that they get longer.

    Args:
        scene: made by any mapper.
        photos: new ones; a folder that holds the old ones too will do. Read with the old ones' size, unless
            this is what `open_images` returns.
        model: a network that predicts descriptors; need not be the one that the scene was made with.
        pairs: which photos to match, by their names in the scene that comes out; None: as ``options.graph``
            says, of all photos in the order of their names. Pairs of two old photos do not count.
        known: intrinsics and poses (in the scene's world) of new photos; those of old ones do not count.
        cache: folder in which predictions are kept, best the one that the scene was made with.
        options: how; ``mapper`` must be ``sparse`` and ``solver`` ``lm``. Refinement moves new photos only.
        progress: shows bars, and ends the work, as for `reconstruct`.
        on_forecast: is told what is ahead before the long part.
        on_partial: as for `reconstruct`; old photos are in it too.
        on_loss: as for `reconstruct`.

    Returns:
        The scene with more images. New photos that match none of the old ones, but each other, are groups of
        their own; those that match nothing are in ``dropped``. Names become longer where the new photos lie
        outside of `Scene.image_folder`. The report is of this run, with ``added`` (names), ``kept`` (how
        many) and ``bridges`` (pairs that match, but of photos in different groups, which stay apart).

    Raises:
        InputError: an empty scene, photos that cannot be used, options that are not meant for this, or pairs
            that name other photos.
    """
    options, log = options or ReconstructionOptions(), StageLog()
    _check(scene, options)
    if not isinstance(photos, ImageSet):
        inputs = [photos] if isinstance(photos, (str, Path)) else photos
        size = network_size(scene.images)
        photos = open_images(inputs, size=size, patch_size=model.patch_size, progress=progress)
    joined = join_photos(scene, photos)
    images, store = joined.images, PredictionCache(cache)
    with log.stage("pairs"):
        if pairs is not None:
            chosen = pair_indices(pairs, images.names)
        else:
            chosen = _pairs_by_name(images, lambda them: choose_pairs(them, model, store, options, progress))
        chosen = [pair for pair in chosen if max(pair) >= joined.old]
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
    additions = place_new(task, joined)
    return _with_additions(task, joined, additions)


def _check(scene: Scene, options: ReconstructionOptions) -> None:
    if not scene.images:
        raise InputError("the scene has no photo that others could be added to", "make it anew")
    if options.mapper != "sparse" or options.solver != "lm" or isinstance(options.align, AdamOptions):
        raise InputError(
            f"photos are added by mapper sparse with solver lm, not {options.mapper} with {options.solver}",
            "the scene itself may be of any mapper",
        )
    if options.known_distance is not None:
        raise InputError("the scene's scale is fixed already", "give known distances when it is made")


def _pairs_by_name(images: ImageSet, choose: Callable[[ImageSet], list[Pair]]) -> list[Pair]:
    """Pairs of a graph over the photos in the order of their names, in which one run would have had them."""
    order = sorted(range(len(images)), key=lambda number: PurePosixPath(images[number].name).parts)
    return [(order[first], order[second]) for first, second in choose(images.subset(order))]


def _with_additions(task: MappingTask, joined: JoinedPhotos, additions: Additions) -> Scene:
    """The scene with what was placed, refined, with tracks and points."""
    before, log, old = joined.scene, task.log, joined.old
    placed = sorted(additions.placed)
    images = (*before.images, *(additions.placed[number] for number in placed))
    row = {number: k for k, number in enumerate([*range(old), *placed])}
    matches = {(row[i], row[j]): found for (i, j), found in additions.matches.items()}
    with log.stage("tracks"):
        matches |= stored_matches(before.images, before.tracks)
        tracks = before.tracks
        if placed:
            tracks = tracks_from_matches(images, matches, progress=task.progress)
    scene = replace(before, images=images, tracks=tracks, points=PointCloud.empty())
    with log.stage("refinement"):
        scene, refinement = refined(task, joined, scene, matches)
    threshold = task.options.min_confidence
    if threshold is None:
        threshold = before.report.get("min_confidence") or automatic_confidence(before.images)
    points = _joined_points(before.points, *_points_of(scene.images[old:], float(threshold)))
    scene = replace(scene, points=points, dropped=_dropped(joined, additions, scene))
    report = _report(task, joined, additions, scene)
    return replace(scene, report=report | {"refinement": refinement, "min_confidence": float(threshold)})


def _dropped(joined: JoinedPhotos, additions: Additions, scene: Scene) -> tuple[DroppedImage, ...]:
    """All photos that are not in the scene, each with its last reason."""
    names = {image.name for image in scene.images}
    every = (*joined.scene.dropped, *joined.images.dropped, *additions.dropped)
    return tuple({drop.name: drop for drop in every if drop.name not in names}.values())


def _points_of(images: Sequence[SceneImage], threshold: float) -> list[PointCloud]:
    return [confident_points(images, threshold)] if images else []


def _joined_points(*clouds: PointCloud) -> PointCloud:
    return PointCloud(
        positions=np.concatenate([cloud.positions for cloud in clouds]),
        colors=np.concatenate([cloud.colors for cloud in clouds]),
        confidence=np.concatenate([cloud.confidence for cloud in clouds]),
        component=np.concatenate([cloud.components for cloud in clouds]),
    )


def _report(task: MappingTask, joined: JoinedPhotos, additions: Additions, scene: Scene) -> dict[str, Any]:
    """As of a reconstruction, with all pairs, and what was added."""
    base = reconstruction_report(task, Placement((), ()), scene)
    groups: dict[int, list[str]] = {}
    for image in scene.images:
        groups.setdefault(image.component, []).append(image.name)
    added = [additions.placed[number].name for number in sorted(additions.placed)]
    return base | {
        "images": len(scene.images) + len(scene.dropped),
        "components": [groups[component] for component in sorted(groups)],
        "pairs": _merged_pairs(joined.scene.report.get("pairs", []), base["pairs"]),
        "alignment": additions.reports,
        "scale": [*joined.scene.report.get("scale", []), *additions.scales],
        "added": added,
        "kept": joined.old,
        "bridges": [[task.images[number].name for number in pair] for pair in additions.bridges],
    }


def _merged_pairs(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reports of pairs, of each the last."""
    return list({(pair["image0"], pair["image1"]): pair for pair in [*before, *now]}.values())
