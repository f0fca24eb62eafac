"""The request of ``mast3r match``, and where its results go."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mast3r_model import InputError, Mast3rError, OutputError

from .inputs import PhotoPairs
from .matches import Matches
from .options import MatchOptions
from .storage import checked_suffix

if TYPE_CHECKING:
    from mast3r_model.cli import ModelOptions


@dataclass(frozen=True)
class MatchRequest:
    """The flags of the command; their help texts say what they are."""

    photos: tuple[Path, ...]
    recursive: bool
    strict: bool
    masks: tuple[Path, ...]
    intrinsics: Path | None
    pairs_file: Path | None
    size: int
    subsample: int
    pixel_tol: float
    min_confidence: float
    max_matches: int | None
    border: int
    symmetric: bool
    fine: bool
    max_image_size: int | None
    verify: Literal["fundamental", "essential", "none"]
    threshold: float
    viz: Path | None
    viz_count: int
    output: Path | None
    overwrite: bool

    def options(self) -> MatchOptions:
        """How to match; the number of matches is limited after verifying."""
        return MatchOptions(
            subsample=self.subsample,
            pixel_tol=self.pixel_tol,
            border=self.border,
            min_confidence=self.min_confidence,
            max_matches=None if self.verify != "none" else self.max_matches,
            symmetric=self.symmetric,
        )


@dataclass(frozen=True)
class OutputPlace:
    """Where the results of a pair go."""

    output: Path
    viz: Path | None


def output_places(request: MatchRequest, wanted: PhotoPairs) -> dict[tuple[int, int], OutputPlace]:
    """Files for every pair.

    Raises:
        InputError: a file name for many pairs, a suffix that no format has, or a picture in place of a photo.
    """
    if len(wanted.pairs) == 1:
        output = request.output or Path("matches.npz")
        if output.is_dir() or not output.suffix:
            output = output / f"{_pair_name(wanted, wanted.pairs[0])}.npz"
        checked_suffix(output)
        if request.viz is not None and request.viz.exists():
            _refuse_to_draw_over(request.viz, [*wanted.photos, *request.masks])
        return {wanted.pairs[0]: OutputPlace(output, request.viz)}
    folder = request.output or Path("matches")
    for flag, path in (("--output", folder), ("--viz", request.viz)):
        if path is not None and path.suffix and not path.is_dir():
            raise InputError(
                f"{len(wanted.pairs)} pairs do not fit into one file, {path}", f"give {flag} a folder"
            )
    names: dict[str, int] = {}
    places = {}
    for pair in wanted.pairs:
        name = _pair_name(wanted, pair)
        names[name] = names.get(name, 0) + 1
        unique = name if names[name] == 1 else f"{name}-{names[name]}"
        viz = None if request.viz is None else request.viz / f"{unique}.png"
        places[pair] = OutputPlace(folder / f"{unique}.npz", viz)
    return places


def _refuse_to_draw_over(picture: Path, inputs: Sequence[Path]) -> None:
    if any(path.exists() and picture.samefile(path) for path in inputs):
        raise InputError(
            f"--viz {picture} would replace a photo or mask of this pair",
            "give the picture a name of its own",
        )


def made_with(
    request: MatchRequest, model: ModelOptions, masks: Sequence[Path | None], pair: tuple[int, int]
) -> dict[str, object]:
    """What makes the matches of a pair beside `MatchOptions`, ready for JSON; noted in its file."""
    return {
        "model": model.model,
        "dtype": model.dtype,
        "size": request.size,
        "masks": [None if masks[index] is None else str(masks[index]) for index in pair],
        "intrinsics": None if request.intrinsics is None else str(request.intrinsics),
        "fine": request.fine,
        "max_image_size": request.max_image_size if request.fine else None,
        "verify": None
        if request.verify == "none"
        else {"model": request.verify, "threshold": request.threshold, "max_matches": request.max_matches},
    }


def matches_there(
    request: MatchRequest,
    wanted: PhotoPairs,
    places: Mapping[tuple[int, int], OutputPlace],
    notes: Mapping[tuple[int, int], Mapping[str, object]],
) -> dict[tuple[int, int], Matches]:
    """The matches that this request has made before; they may be replaced, anything else only if asked.

    Args:
        request: the flags.
        wanted: photos and pairs.
        places: files for every pair.
        notes: what `made_with` says of every pair.

    Raises:
        OutputError: a file that is there and holds something else.
    """
    if request.overwrite:
        return {}
    found = {}
    for pair, place in places.items():
        there = _load(place.output)
        same = there is not None and _is_same(there, request, wanted, pair, notes[pair])
        mine = there if same else None
        if mine is not None:
            found[pair] = mine
        for path in (place.output, place.viz):
            if path is None or not path.exists():
                continue
            # A picture is drawn after its matches were written: an older one is of something else.
            if mine is None or path.stat().st_mtime < place.output.stat().st_mtime:
                raise OutputError(f"{path} exists already", "give another name, or --overwrite")
    return found


def is_current(path: Path, matches: Matches, sources: Iterable[Path | None]) -> bool:
    """Whether matches were written by this version, after all files that they were made from."""
    written = path.stat().st_mtime
    changed = [source.stat().st_mtime for source in sources if source is not None and source.exists()]
    return matches.made_with.get("version") == version("mast3r-match") and max(changed, default=0) < written


def _load(path: Path) -> Matches | None:
    try:
        return Matches.load(path) if path.is_file() else None
    except Mast3rError:
        return None


def _is_same(
    there: Matches,
    request: MatchRequest,
    wanted: PhotoPairs,
    pair: tuple[int, int],
    note: Mapping[str, object],
) -> bool:
    """Whether these are the matches of this pair by this request."""
    return (
        (there.name0, there.name1) == tuple(str(wanted.photos[index]) for index in pair)
        and all(there.made_with.get(key) == value for key, value in note.items())
        and there.made_with.get("options") == dataclasses.asdict(request.options())
    )


def _pair_name(wanted: PhotoPairs, pair: tuple[int, int]) -> str:
    return "__".join(wanted.photos[index].stem for index in pair)
