"""What ``mast3r match`` does: photos in, files and pictures of matches out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mast3r_model import (
    AsymmetricCroCo3DStereo,
    ImageError,
    InputError,
    NothingFoundError,
    load_image,
    load_mask,
    read_rgb,
)
from mast3r_model.cli import CommandContext, ModelOptions

from .inputs import PhotoPairs, find_masks, find_pairs
from .match_outputs import MatchRequest, OutputPlace, check_outputs, output_places
from .matches import Matches
from .matching import match_pairs
from .photos import PreparedPhoto, prepare_photo

LOGGER = logging.getLogger("mast3r.match")


@dataclass(frozen=True)
class PairOutcome:
    """One pair's line in the result."""

    image0: str
    image1: str
    matches: int
    inliers: int | None
    median_score: float | None
    output: Path | None
    viz: Path | None


def run_match(context: CommandContext, request: MatchRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    wanted = find_pairs(request.photos, request.pairs_file, recursive=request.recursive)
    places = output_places(request, wanted)
    intrinsics = None if request.intrinsics is None else read_intrinsics(request.intrinsics)
    masks = find_masks(request.masks, wanted.photos)
    made_with: dict[str, object] = {"model": model_options.model, "size": request.size}
    check_outputs(request, wanted, places, made_with)
    model = model_options.load(context)
    photos = _read_photos(context, request, wanted, masks, model.patch_size)
    pairs = [pair for pair in wanted.pairs if pair[0] in photos and pair[1] in photos]
    if not pairs:
        raise ImageError("no pair is left: its photos cannot be read")
    outcomes = []
    with context.timed("match"):
        found = _matches(model, request, wanted, photos, pairs, masks, made_with, model_options, intrinsics)
        for pair, matches in zip(pairs, context.track(found, "matching", len(pairs)), strict=True):
            outcomes.append(_finish(context, request, matches, places[pair], intrinsics))
    _report(context, request, outcomes)


def _read_photos(
    context: CommandContext,
    request: MatchRequest,
    wanted: PhotoPairs,
    masks: Sequence[Path | None],
    patch_size: int,
) -> dict[int, PreparedPhoto]:
    """The photos that can be read, by index; with one pair, or ``--strict``, all must be."""
    photos = {}
    with context.timed("read"):
        for index, path in enumerate(context.track(wanted.photos, "reading")):
            try:
                loaded = load_image(path, request.size, patch_size=patch_size)
            except ImageError as error:
                if request.strict or len(wanted.pairs) == 1:
                    raise
                context.partial(f"skipped: {error.message}")
                continue
            mask = masks[index]
            allowed = None if mask is None else load_mask(mask, loaded.transform.original_shape)
            photos[index] = prepare_photo(loaded, allowed)
    return photos


def _matches(
    model: AsymmetricCroCo3DStereo,
    request: MatchRequest,
    wanted: PhotoPairs,
    photos: dict[int, PreparedPhoto],
    pairs: Sequence[tuple[int, int]],
    masks: Sequence[Path | None],
    made_with: dict[str, object],
    model_options: ModelOptions,
    intrinsics: np.ndarray | None,
) -> Iterator[Matches]:
    batch_size = model_options.batch_size or 8
    if not request.fine:
        rows = {index: row for row, index in enumerate(photos)}
        yield from match_pairs(
            model,
            list(photos.values()),
            [(rows[first], rows[second]) for first, second in pairs],
            batch_size=batch_size,
            options=request.options(),
            made_with=made_with,
        )
        return
    from .coarse_to_fine import match_coarse_to_fine

    for pair in pairs:
        first, second = (
            load_image(wanted.photos[index], request.size, patch_size=model.patch_size) for index in pair
        )
        mask0, mask1 = (
            None if mask is None else load_mask(mask, loaded.transform.original_shape)
            for loaded, mask in ((first, masks[pair[0]]), (second, masks[pair[1]]))
        )
        yield match_coarse_to_fine(
            model,
            first,
            second,
            size=request.size,
            max_image_size=request.max_image_size,
            mask0=mask0,
            mask1=mask1,
            intrinsics0=intrinsics,
            intrinsics1=intrinsics,
            batch_size=batch_size,
            options=request.options(),
            made_with=made_with,
        )


def _finish(
    context: CommandContext,
    request: MatchRequest,
    matches: Matches,
    place: OutputPlace,
    intrinsics: np.ndarray | None,
) -> PairOutcome:
    """Verify, limit, write; a pair without matches is written nowhere."""
    inliers: np.ndarray | None = None
    counted = len(matches)
    if request.verify != "none":
        from .verify import verify_matches

        inliers = verify_matches(
            matches,
            request.verify,
            threshold=request.threshold,
            intrinsics0=intrinsics,
            intrinsics1=intrinsics,
        ).inliers
        matches = matches.select(inliers)
        if request.max_matches is not None:
            matches = matches.spread(request.max_matches)
    output, viz = None, None
    if len(matches):
        matches.save(place.output)
        output = place.output
        if place.viz is not None:
            from .viz import save_match_picture

            save_match_picture(
                place.viz, matches, read_rgb(matches.name0), read_rgb(matches.name1), count=request.viz_count
            )
            viz = place.viz
    return PairOutcome(
        image0=matches.name0,
        image1=matches.name1,
        matches=counted,
        inliers=None if inliers is None else int(inliers.sum()),
        median_score=float(np.median(matches.scores)) if len(matches) else None,
        output=output,
        viz=viz,
    )


def _report(context: CommandContext, request: MatchRequest, outcomes: Sequence[PairOutcome]) -> None:
    """Say what was found.

    Raises:
        NothingFoundError: nothing, in no pair.
    """
    for outcome in outcomes:
        inliers = "" if outcome.inliers is None else f", {outcome.inliers} inliers"
        score = "" if outcome.median_score is None else f", median score {outcome.median_score:.3g}"
        context.say(f"{outcome.image0} - {outcome.image1}: {outcome.matches} matches{inliers}{score}")
    if all(outcome.output is None for outcome in outcomes):
        pairs = f"{len(outcomes)} pairs" if len(outcomes) > 1 else "the pair"
        raise NothingFoundError(
            f"no matches in {pairs}",
            "photos that show the same place match better; try --size 512, --min-confidence 0, no --mask",
        )
    context.result(pairs=outcomes, photos=len({name for o in outcomes for name in (o.image0, o.image1)}))
    written = [path for outcome in outcomes for path in (outcome.output, outcome.viz) if path is not None]
    shown = written if len(written) <= 2 else sorted({path.parent for path in written})
    context.note("written: " + ", ".join(map(str, shown)))
    if request.viz is None and len(outcomes) == 1:
        context.note(
            f"next: mast3r match {outcomes[0].image0} {outcomes[0].image1} --viz matches.png --overwrite"
        )


def read_intrinsics(path: Path) -> np.ndarray:
    """A 3x3 camera matrix from a text file of nine numbers.

    Raises:
        InputError: the file holds something else.
    """
    try:
        values = np.loadtxt(path, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read intrinsics from {path}: {error}") from error
    if values.size != 9 or not np.isfinite(values).all() or min(values.flat[[0, 4]]) <= 0:
        raise InputError(
            f"{path} must hold a 3x3 matrix with positive focal lengths, got shape {values.shape}"
        )
    return values.reshape(3, 3)
