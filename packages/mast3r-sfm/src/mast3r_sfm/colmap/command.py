"""What ``mast3r colmap`` does: photos in, a COLMAP database and models out (spec 30 section 11)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap

from mast3r_match import Correspondences, image_similarity
from mast3r_model import AsymmetricCroCo3DStereo, InputError, NothingFoundError
from mast3r_model.cli import CommandContext, ModelOptions, refuse_existing
from mast3r_sfm.keypoints import keypoint_graph
from mast3r_sfm.pairs import Pair, check_graph, graph_pairs, pair_indices, read_pairs
from mast3r_sfm.photos import ImageSet

from .colors import color_points
from .database import write_database
from .inputs import ColmapInput, ColmapRequest, read_input
from .mapping import run_mapper, triangulate_known_poses, verify_geometry
from .models import write_reconstruction
from .network_matches import NetworkMatching, network_matches

VERIFY_ERROR = 2.0
"""Of the two-view geometry, in pixels of the network: matches are no more exact than those."""


def run_colmap(context: CommandContext, request: ColmapRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    refuse_existing(request.output, overwrite=request.overwrite)
    check_graph(request.graph)
    database = request.output / "database.db"
    model = model_options.load(context)
    with context.timed("read"):
        given = read_input(request, model.patch_size)
    mapper = request.mapper or ("pycolmap" if given.poses is None else "triangulate")
    if mapper == "triangulate" and given.poses is None:
        raise InputError("no poses are known to triangulate with", "give --poses, or a kapture with poses")
    pairs = _pairs(request, given.images, model)
    with context.timed("match"):
        matches = _matches(context, request, given.images, pairs, model, model_options.batch_size or 8)
    with context.timed("map"):
        verify = request.verify or mapper == "glomap"
        if not request.verify and verify:
            context.warn("GLOMAP needs the geometry of every pair: matches are verified all the same")
        _write_database(request, given, matches, database, verify=verify)
        if verify:
            verify_geometry(database, max_error=VERIFY_ERROR * given.pixel_size, seed=model_options.seed)
        models = _map(mapper, given, database, request.output / "sparse", model_options.seed)
    _report(context, request, given, matches, models)


def _pairs(request: ColmapRequest, images: ImageSet, model: AsymmetricCroCo3DStereo) -> list[Pair]:
    """Unordered pairs, each once, in the order of the list."""
    if len(images) < 2:
        raise InputError(
            f"matching needs two photos or more, got {len(images)}",
            "give a folder with several photos of one place",
        )
    if request.pairs_file is None:

        def similarity() -> np.ndarray:
            return image_similarity(model, model.encode([image.tensor() for image in images]))

        return graph_pairs(request.graph, len(images), similarity=similarity)
    listed = pair_indices(read_pairs(request.pairs_file).names, images.names)
    once: dict[Pair, Pair] = {}
    for first, second in listed:
        once.setdefault((min(first, second), max(first, second)), (first, second))
    return list(once.values())


def _matches(
    context: CommandContext,
    request: ColmapRequest,
    images: ImageSet,
    pairs: Sequence[Pair],
    model: AsymmetricCroCo3DStereo,
    batch_size: int,
) -> dict[Pair, Correspondences]:
    """Of every pair that has any.

    Raises:
        NothingFoundError: no pair has.
    """
    options = NetworkMatching(
        dense=request.dense,
        pixel_tolerance=request.pixel_tolerance,
        min_confidence=request.min_confidence,
        batch_size=batch_size,
    )
    found = context.track(network_matches(model, images, pairs, options), "matching pairs", len(pairs))
    matches = {pair: one for pair, one in zip(pairs, found, strict=True) if len(one.confidence)}
    if not matches:
        raise NothingFoundError(
            f"no matches in {len(pairs)} pairs", f"try --min-confidence below {request.min_confidence}"
        )
    return matches


def _write_database(
    request: ColmapRequest,
    given: ColmapInput,
    matches: dict[Pair, Correspondences],
    database: Path,
    *,
    verify: bool,
) -> None:
    graph = keypoint_graph([image.shape for image in given.images], matches)
    least = min(request.min_track, len(given.images))  # one keypoint in each photo is all there can be
    kept = graph.with_tracks_of(least)
    if not len(kept):
        raise NothingFoundError(f"no track has {least} keypoints", "try a smaller --min-track, or more pairs")
    database.unlink(missing_ok=True)
    write_database(
        database,
        given.cameras,
        kept,
        shared_camera=request.shared_camera,
        already_verified=not verify,
    )


def _map(
    mapper: str, given: ColmapInput, database: Path, output: Path, seed: int
) -> list[pycolmap.Reconstruction]:
    if mapper == "triangulate":
        assert given.poses is not None
        models = [
            triangulate_known_poses(
                database, given.poses, None, output / "0", pixel_size=given.pixel_size, seed=seed
            )
        ]
    else:
        models = run_mapper(
            database,
            None,
            output,
            mapper="glomap" if mapper == "glomap" else "colmap",
            pixel_size=given.pixel_size,
            seed=seed,
        )
    for number, model in enumerate(models):
        color_points(model, given.images)
        write_reconstruction(model, output / str(number))
    return models


def _report(
    context: CommandContext,
    request: ColmapRequest,
    given: ColmapInput,
    matches: dict[Pair, Correspondences],
    models: Sequence[pycolmap.Reconstruction],
) -> None:
    images = given.images
    count = sum(len(found.confidence) for found in matches.values())
    context.say(f"{len(images)} photos, {len(matches)} pairs with {count} matches")
    described = [
        {
            "folder": request.output / "sparse" / str(number),
            "images": model.num_reg_images(),
            "points": model.num_points3D(),
            "observations": model.compute_num_observations(),
            "mean_reprojection_error": model.compute_mean_reprojection_error(),
        }
        for number, model in enumerate(models)
    ]
    for model in described:
        context.say(
            f"{model['folder']}: {model['images']} photos, {model['points']} points, "
            f"reprojection error {model['mean_reprojection_error']:.2f} px, mean"
        )
    placed = {model.images[number].name for model in models for number in model.reg_image_ids()}
    left_out = {drop.name: drop.reason for drop in images.dropped}
    left_out |= {name: "COLMAP did not place it" for name in images.names if name not in placed}
    for name, reason in left_out.items():
        context.partial(f"{name} is left out: {reason}")
    context.result(
        folder=request.output,
        database=request.output / "database.db",
        pairs=len(matches),
        matches=count,
        models=described,
        dropped=left_out,
    )
    context.note(f"written: {request.output}")
    context.note(
        f"next: mast3r evaluate scenes {request.output / 'sparse' / '0'} TRUTH, or open it in COLMAP"
    )
