"""From photos to a scene: the whole way on one page (spec 30 section 1).

photos -> pairs -> predictions (cached) -> canonical views -> sparse alignment -> depth, tracks, points
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mast3r_match import Correspondences, image_similarity
from mast3r_model import AsymmetricCroCo3DStereo, InputError, NothingFoundError

from .canonical import CanonicalAccumulator, CanonicalView
from .known_cameras import KnownCameras, camera_priors
from .pairs import Pair, graph_pairs
from .photos import ImageSet, open_images
from .predictions import Forecast, PredictedPairs, PredictionOptions, predict_pairs
from .predictions.predict import Progress
from .scene import DroppedImage, PointCloud, Scene, SceneImage, Tracks
from .sparse import (
    Alignment,
    AlignOptions,
    CrossPointmap,
    DensePoints,
    Solver,
    SparseProblem,
    align,
    build_problem,
    components,
    dense_points,
)
from .tracks import tracks_from_matches

USUAL_CONFIDENCE = 1.5
"""Upstream's threshold for points."""


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """How a scene is made.

    Attributes:
        graph: which photos meet, see `graph_pairs`; not used where pairs are given.
        solver: of the alignment: ``lm``, or ``adam`` for upstream's schedule.
        align: options of that solver.
        prediction: how pairs are predicted, matched and kept.
        engine: who computes the predictions: a name of ``registry("engines")``.
        matching_confidence: pairs whose best match is not above this do not count as matched; the network's
            points hold them together instead.
        shared_intrinsics: all photos are from one camera with one zoom.
        clean_depth: confidence 0 for points in front of what other photos see more surely.
        min_confidence: of the points of the cloud (canonical confidence, about 1 less than the network's);
            None: see `automatic_confidence`.
    """

    graph: str = "auto"
    solver: Solver = "lm"
    align: AlignOptions | None = None
    prediction: PredictionOptions = field(default_factory=PredictionOptions)
    engine: str = "local"
    matching_confidence: float = 0.0
    shared_intrinsics: bool = False
    clean_depth: bool = True
    min_confidence: float | None = None


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
        progress: shows bars, see `predict_pairs`.
        on_forecast: is told what is ahead before the long part.

    Returns:
        The scene. Photos that could not be placed are in ``dropped``, groups of photos without matches
        between them are components of their own.

    Raises:
        InputError: fewer than two usable photos.
        NothingFoundError: no two photos match.
    """
    options = options or ReconstructionOptions()
    timer = _Timer()
    if not isinstance(images, ImageSet):
        inputs = [images] if isinstance(images, (str, Path)) else images
        images = open_images(inputs, size=size, patch_size=model.patch_size)
    if len(images) < 2:
        raise InputError(
            f"a reconstruction needs two photos or more, got {len(images)}",
            "give a folder with several photos of one place",
        )
    with timer.stage("pairs"):
        chosen = list(pairs) if pairs is not None else _pairs_of(options.graph, images, model)
    with timer.stage("predictions"):
        predictions = predict_pairs(
            model,
            images,
            chosen,
            cache=cache,
            engine=options.engine,
            options=options.prediction,
            progress=progress,
            on_forecast=on_forecast,
        )
    with timer.stage("canonical views"):
        gathered = _gather(images, predictions, options)
    return _solve(images, gathered, known, options, timer)


@dataclass(frozen=True)
class _Gathered:
    """What alignment needs of all predictions.

    Attributes:
        views: of every image; None for those in no pair.
        matches: of every pair that has any.
        cross_pointmaps: of pairs that do not match well enough.
    """

    views: tuple[CanonicalView | None, ...]
    matches: dict[Pair, Correspondences]
    cross_pointmaps: dict[Pair, CrossPointmap]


def _pairs_of(graph: str, images: ImageSet, model: AsymmetricCroCo3DStereo) -> list[Pair]:
    def similarity() -> np.ndarray:
        return image_similarity(model, model.encode([image.tensor() for image in images]))

    return graph_pairs(graph, len(images), similarity=similarity)


def _gather(images: ImageSet, predictions: PredictedPairs, options: ReconstructionOptions) -> _Gathered:
    """One pass over the predictions; only one of them is in memory at a time."""
    step = options.prediction.matching.subsample or 8
    sums = [CanonicalAccumulator(image.shape, step) for image in images]
    matches: dict[Pair, Correspondences] = {}
    cross: dict[Pair, CrossPointmap] = {}
    for prediction in predictions:
        i, j = prediction.image0, prediction.image1
        sums[i].add(prediction.pts3d_00, prediction.conf_00)
        sums[j].add(prediction.pts3d_11, prediction.conf_11)
        if not len(prediction.matches.confidence):
            continue
        matches[i, j] = prediction.matches
        if float(prediction.matches.confidence.max()) <= options.matching_confidence:
            cross[j, i] = CrossPointmap.sample(prediction.pts3d_10, prediction.conf_10, subsample=step)
            cross[i, j] = CrossPointmap.sample(prediction.pts3d_01, prediction.conf_01, subsample=step)
    views = tuple(image_sums.finish() if image_sums.count else None for image_sums in sums)
    return _Gathered(views, matches, cross)


def _solve(
    images: ImageSet,
    gathered: _Gathered,
    known: KnownCameras | None,
    options: ReconstructionOptions,
    timer: _Timer,
) -> Scene:
    """Align every group of connected photos by itself."""
    dropped = [DroppedImage(image.name, image.reason) for image in images.dropped]
    used = [index for index, view in enumerate(gathered.views) if view is not None]
    dropped += [
        DroppedImage(image.name, "it is in no pair")
        for image, view in zip(images, gathered.views, strict=True)
        if view is None
    ]
    views = [view for view in gathered.views if view is not None]
    row = {image: k for k, image in enumerate(used)}
    problem = build_problem(
        views,
        [(row[i], row[j]) for i, j in gathered.matches],
        list(gathered.matches.values()),
        cross_pointmaps={(row[i], row[j]): points for (i, j), points in gathered.cross_pointmaps.items()},
        matching_conf_thr=options.matching_confidence,
    )
    groups = components(problem)
    dropped += [
        DroppedImage(images[used[k]].name, "it matches no other photo")
        for group in groups
        if len(group) < 2
        for k in group
    ]
    parts: list[_Part] = []
    for group in (group for group in groups if len(group) > 1):
        numbers = [used[k] for k in group]
        parts.append(
            _align_group(
                images.subset(numbers),
                numbers,
                [views[k] for k in group],
                problem.restricted_to(group),
                gathered,
                known,
                component=len(parts),
                options=options,
                timer=timer,
            )
        )
    if not parts:
        raise NothingFoundError("no two photos match", "do they show the same place? try --graph complete")
    return _join(parts, images, gathered, dropped, options, timer)


@dataclass(frozen=True)
class _Part:
    """One group of connected photos, placed."""

    numbers: tuple[int, ...]
    images: tuple[SceneImage, ...]
    tracks: Tracks
    alignment: Alignment


def _align_group(
    images: ImageSet,
    numbers: Sequence[int],
    views: Sequence[CanonicalView],
    problem: SparseProblem,
    gathered: _Gathered,
    known: KnownCameras | None,
    *,
    component: int,
    options: ReconstructionOptions,
    timer: _Timer,
) -> _Part:
    priors = camera_priors(images, known, shared_intrinsics=options.shared_intrinsics)
    with timer.stage("alignment"):
        alignment = align(problem, solver=options.solver, options=options.align, priors=priors)
    with timer.stage("depth"):
        points = dense_points(views, alignment, clean=options.clean_depth, pairs=problem.pairs)
    placed = tuple(
        _scene_image(images, k, alignment, points[k], component=component) for k in range(len(images))
    )
    row = {number: k for k, number in enumerate(numbers)}
    matches = {(row[i], row[j]): found for (i, j), found in gathered.matches.items() if i in row and j in row}
    with timer.stage("tracks"):
        tracks = tracks_from_matches(placed, matches)
    return _Part(tuple(numbers), placed, tracks, alignment)


def _scene_image(
    images: ImageSet, index: int, alignment: Alignment, points: DensePoints, *, component: int
) -> SceneImage:
    image = images[index]
    depth = points.depth.cpu().numpy()
    usable = np.isfinite(depth) & (depth > 0)
    return SceneImage(
        name=image.name,
        original_shape=image.transform.original_shape,
        transform=image.transform,
        intrinsics=image.transform.intrinsics_to_original(alignment.intrinsics[index].cpu().numpy()),
        cam2world=alignment.cam2world[index].cpu().numpy(),
        depth=np.where(usable, depth, 0),
        confidence=np.where(usable, points.conf.cpu().numpy(), 0),
        color=image.pixels,
        component=component,
    )


def _join(
    parts: Sequence[_Part],
    images: ImageSet,
    gathered: _Gathered,
    dropped: Sequence[DroppedImage],
    options: ReconstructionOptions,
    timer: _Timer,
) -> Scene:
    placed = tuple(image for part in parts for image in part.images)
    first_image = np.cumsum([0, *(len(part.images) for part in parts)])
    first_track = np.cumsum([0, *(len(part.tracks) for part in parts)])
    joined = [part.tracks for part in parts]
    tracks = Tracks(
        positions=np.concatenate([part.positions for part in joined]),
        colors=np.concatenate([part.colors for part in joined]),
        track=np.concatenate([p.track + start for p, start in zip(joined, first_track, strict=False)]),
        image=np.concatenate([p.image + start for p, start in zip(joined, first_image, strict=False)]),
        xy=np.concatenate([part.xy for part in joined]),
        reprojection_error=np.concatenate([part.reprojection_error for part in joined]),
    )
    threshold = options.min_confidence
    if threshold is None:
        threshold = automatic_confidence(placed)
    report: dict[str, Any] = {
        "images": len(images),
        "placed": len(placed),
        "components": [[images[number].name for number in part.numbers] for part in parts],
        "dropped": {drop.name: drop.reason for drop in dropped},
        "pairs": [
            {"image0": images[i].name, "image1": images[j].name, "matches": len(found.confidence)}
            for (i, j), found in gathered.matches.items()
        ],
        "alignment": [_alignment_report(part.alignment) for part in parts],
        "tracks": {
            "count": len(tracks),
            "observations": len(tracks.track),
            "mean_reprojection_error": float(tracks.reprojection_error.mean()) if len(tracks.track) else None,
        },
        "min_confidence": threshold,
        "seconds": timer.seconds,
        "options": {"graph": options.graph, "solver": options.solver, "engine": options.engine},
    }
    scene = Scene(placed, PointCloud.empty(), tracks, tuple(dropped), report, _image_folder(images))
    return replace(scene, points=confident_points(scene.images, threshold))


def automatic_confidence(images: Sequence[SceneImage]) -> float:
    """The threshold for points: 1.5 where a tenth of all pixels is above it, else the median confidence.

    Networks differ in how sure they call themselves: hardly a pixel of ``nano`` comes to 1.5.
    """
    confidence = np.concatenate([image.confidence[image.confidence > 0] for image in images])
    if not len(confidence) or np.mean(confidence > USUAL_CONFIDENCE) >= 0.1:
        return USUAL_CONFIDENCE
    return float(np.median(confidence))


def confident_points(images: Sequence[SceneImage], min_confidence: float) -> PointCloud:
    """The pixels above a confidence as one cloud of world points.

    Args:
        images: with depth.
        min_confidence: points must be above it.
    """
    kept = [image.confidence > min_confidence for image in images]
    return PointCloud(
        positions=np.concatenate([image.pts3d()[keep] for image, keep in zip(images, kept, strict=True)]),
        colors=np.concatenate([image.color[keep] for image, keep in zip(images, kept, strict=True)]),
        confidence=np.concatenate([image.confidence[keep] for image, keep in zip(images, kept, strict=True)]),
        component=np.repeat([image.component for image in images], [int(keep.sum()) for keep in kept]),
    )


def _alignment_report(alignment: Alignment) -> dict[str, Any]:
    return {
        "solver": alignment.solver,
        "stages": [
            {
                "name": stage.name,
                "first_loss": float(stage.losses[0]),
                "last_loss": float(stage.losses[-1]),
                "steps": len(stage.losses),
                "losses": [float(loss) for loss in torch.as_tensor(stage.losses)],
                "seconds": stage.seconds,
            }
            for stage in alignment.stages
        ],
    }


def _image_folder(images: ImageSet) -> str:
    """The folder that names are relative to, if the first image's path ends with its name."""
    path, name = images[0].path.resolve(), Path(images[0].name)
    return str(Path(*path.parts[: -len(name.parts)])) if path.parts[-len(name.parts) :] == name.parts else ""


class _Timer:
    """Wall-clock seconds by stage; stages of the same name add up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
