"""What ``mast3r match`` does: photos in, files and pictures of matches out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from mast3r_model import (
    AsymmetricCroCo3DStereo,
    ImageError,
    InputError,
    LoadedImage,
    NothingFoundError,
    load_image,
    load_mask,
    locate,
    read_rgb,
)
from mast3r_model.cli import CommandContext, ModelOptions

from .inputs import PhotoPairs, find_masks, find_pairs
from .match_outputs import MatchRequest, OutputPlace, is_current, made_with, matches_there, output_places
from .matches import Matches
from .matching import match_pairs
from .photos import PreparedPhoto, prepare_photo

_MATRIX_HINT = "expected three lines of three numbers: fx 0 cx, 0 fy cy, 0 0 1"

Pair = tuple[int, int]
"""Two photos by their numbers."""


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


@dataclass(frozen=True)
class _Work:
    """What one run of the command is about."""

    context: CommandContext
    request: MatchRequest
    model_options: ModelOptions
    wanted: PhotoPairs
    masks: Sequence[Path | None]
    intrinsics: np.ndarray | None
    places: Mapping[Pair, OutputPlace]
    notes: Mapping[Pair, Mapping[str, object]]


def run_match(context: CommandContext, request: MatchRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    wanted = find_pairs(request.photos, request.pairs_file, recursive=request.recursive)
    masks = find_masks(request.masks, wanted.photos)
    work = _Work(
        context,
        request,
        model_options,
        wanted,
        masks,
        intrinsics=None if request.intrinsics is None else read_intrinsics(request.intrinsics),
        places=output_places(request, wanted),
        notes={pair: made_with(request, model_options, masks, pair) for pair in wanted.pairs},
    )
    outcomes = {pair: _write(work, pair, matches) for pair, matches in _kept(work).items()}
    if outcomes:
        context.note(f"{len(outcomes)} of {len(wanted.pairs)} pairs are matched already")
    missing = [pair for pair in wanted.pairs if pair not in outcomes]
    if missing:
        outcomes |= _match_missing(work, missing)
    _report(work, [outcomes[pair] for pair in wanted.pairs if pair in outcomes])


def _kept(work: _Work) -> dict[Pair, Matches]:
    """Matches of an earlier run of the same command on many pairs that are still right."""
    there = matches_there(work.request, work.wanted, work.places, work.notes)
    if len(work.wanted.pairs) == 1:
        return {}  # quickly made again, and surely right then
    shared = [Path(locate(work.model_options.model).text), work.request.intrinsics]
    return {
        pair: matches
        for pair, matches in there.items()
        if is_current(
            work.places[pair].output,
            matches,
            [*shared, *(files[index] for files in (work.wanted.photos, work.masks) for index in pair)],
        )
    }


def _match_missing(work: _Work, missing: Sequence[Pair]) -> dict[Pair, PairOutcome]:
    model = work.model_options.load(work.context)
    photos = _read_photos(work, missing, model.patch_size)
    pairs = [pair for pair in missing if pair[0] in photos and pair[1] in photos]
    if not pairs and len(missing) == len(work.wanted.pairs):
        raise ImageError("no pair is left: its photos cannot be read")
    outcomes = {}
    with work.context.timed("match"):
        found = _matches(work, model, photos, pairs)
        for pair, matches in zip(pairs, work.context.track(found, "matching", len(pairs)), strict=True):
            outcomes[pair] = _finish(work, pair, matches)
    return outcomes


def _read_photos(work: _Work, pairs: Sequence[Pair], patch_size: int) -> dict[int, PreparedPhoto]:
    """The photos that can be read, by index; with one pair, or ``--strict``, all must be."""
    photos = {}
    used = sorted({index for pair in pairs for index in pair})
    with work.context.timed("read"):
        for index in work.context.track(used, "reading"):
            try:
                loaded = load_image(work.wanted.photos[index], work.request.size, patch_size=patch_size)
            except ImageError as error:
                if work.request.strict or len(work.wanted.pairs) == 1:
                    raise
                work.context.partial(f"skipped: {error.message}")
                continue
            photos[index] = prepare_photo(loaded, _allowed(work, index, loaded))
    return photos


def _allowed(work: _Work, index: int, loaded: LoadedImage) -> Bool[np.ndarray, "height width"] | None:
    """The photo's mask in its own pixels, if it has one."""
    mask = work.masks[index]
    return None if mask is None else load_mask(mask, loaded.transform.original_shape)


def _matches(
    work: _Work,
    model: AsymmetricCroCo3DStereo,
    photos: Mapping[int, PreparedPhoto],
    pairs: Sequence[Pair],
) -> Iterator[Matches]:
    request, batch_size = work.request, work.model_options.batch_size or 8
    if not request.fine:
        rows = {index: row for row, index in enumerate(photos)}
        yield from match_pairs(
            model,
            list(photos.values()),
            [(rows[first], rows[second]) for first, second in pairs],
            batch_size=batch_size,
            options=request.options(),
        )
        return
    from .coarse_to_fine import match_coarse_to_fine

    for pair in pairs:
        # Not kept from before: the photos at their own size may be more than memory holds.
        image0, image1 = (
            load_image(work.wanted.photos[index], request.size, patch_size=model.patch_size) for index in pair
        )
        yield match_coarse_to_fine(
            model,
            image0,
            image1,
            max_image_size=request.max_image_size,
            mask0=_allowed(work, pair[0], image0),
            mask1=_allowed(work, pair[1], image1),
            intrinsics0=work.intrinsics,
            intrinsics1=work.intrinsics,
            batch_size=batch_size,
            options=request.options(),
        )


def _finish(work: _Work, pair: Pair, matches: Matches) -> PairOutcome:
    """Verify, limit, note how, write; a pair without matches is written nowhere."""
    request, note = work.request, dict(work.notes[pair])
    if request.verify != "none":
        from .verify import verify_matches

        inliers = verify_matches(
            matches,
            request.verify,
            threshold=request.threshold,
            intrinsics0=work.intrinsics,
            intrinsics1=work.intrinsics,
        ).inliers
        note["verified"] = {"matches": len(matches), "inliers": int(inliers.sum())}
        matches = matches.select(inliers)
        if request.max_matches is not None:
            matches = matches.spread(request.max_matches)
    matches = dataclasses.replace(matches, made_with={**matches.made_with, **note})
    if len(matches):
        matches.save(work.places[pair].output)
    return _write(work, pair, matches)


def _write(work: _Work, pair: Pair, matches: Matches) -> PairOutcome:
    """The picture of matches that are in their file, and their line in the result."""
    place = work.places[pair]
    if len(matches) and place.viz is not None:
        from .viz import save_match_picture

        photos = read_rgb(matches.name0), read_rgb(matches.name1)
        save_match_picture(place.viz, matches, *photos, count=work.request.viz_count)
    verified = matches.made_with.get("verified")
    counts = verified if isinstance(verified, Mapping) else {"matches": len(matches), "inliers": None}
    return PairOutcome(
        image0=matches.name0,
        image1=matches.name1,
        **counts,
        median_score=float(np.median(matches.scores)) if len(matches) else None,
        output=place.output if len(matches) else None,
        viz=place.viz if len(matches) else None,
    )


def _report(work: _Work, outcomes: Sequence[PairOutcome]) -> None:
    """Say what was found.

    Raises:
        NothingFoundError: nothing, in no pair.
    """
    context = work.context
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
    for outcome in outcomes:
        context.item(outcome)
    context.result(photos=len({name for o in outcomes for name in (o.image0, o.image1)}))
    written = [path for outcome in outcomes for path in (outcome.output, outcome.viz) if path is not None]
    shown = written if len(written) <= 2 else sorted({path.parent for path in written})
    context.note("written: " + ", ".join(map(str, shown)))
    if work.request.viz is None:
        seen = "matches.png draws the matches" if len(outcomes) == 1 else "pictures/ draws all matches"
        context.note(f"next: the same command with --viz {seen}")


def read_intrinsics(path: Path) -> np.ndarray:
    """A 3x3 camera matrix from a text file of nine numbers.

    Raises:
        InputError: the file holds something else.
    """
    try:
        values = np.loadtxt(path, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read intrinsics from {path}: {error}", _MATRIX_HINT) from error
    if values.size != 9 or not np.isfinite(values).all() or min(values.flat[[0, 4]]) <= 0:
        raise InputError(
            f"{path} must hold a 3x3 matrix with positive focal lengths, got shape {values.shape}",
            _MATRIX_HINT,
        )
    return values.reshape(3, 3)
