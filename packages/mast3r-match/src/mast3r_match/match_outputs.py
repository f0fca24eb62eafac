"""The request of ``mast3r match``, and where its results go."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mast3r_model import InputError, Mast3rError, OutputError

from .inputs import PhotoPairs
from .matches import Matches
from .options import MatchOptions
from .storage import checked_suffix


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
        InputError: a file name for many pairs, or a suffix that no format has.
    """
    if len(wanted.pairs) == 1:
        output = request.output or Path("matches.npz")
        if output.is_dir() or not output.suffix:
            output = output / f"{_pair_name(wanted, wanted.pairs[0])}.npz"
        checked_suffix(output)
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


def check_outputs(
    request: MatchRequest,
    wanted: PhotoPairs,
    places: Mapping[tuple[int, int], OutputPlace],
    made_with: Mapping[str, object],
) -> None:
    """The same matches may be made again; anything else is not replaced unless asked.

    Raises:
        OutputError: a file that is there and holds something else.
    """
    if request.overwrite:
        return
    for pair, place in places.items():
        if place.output.is_file() and _is_same(place.output, request, wanted, pair, made_with):
            continue
        for path in (place.output, place.viz):
            if path is not None and path.exists():
                raise OutputError(f"{path} exists already", "give another name, or --overwrite")


def _is_same(
    path: Path,
    request: MatchRequest,
    wanted: PhotoPairs,
    pair: tuple[int, int],
    made_with: Mapping[str, object],
) -> bool:
    """Whether a file holds the matches of this pair by this request."""
    try:
        there = Matches.load(path)
    except Mast3rError:
        return False
    noted = {key: there.made_with.get(key) for key in made_with}
    return (
        (there.name0, there.name1) == tuple(str(wanted.photos[index]) for index in pair)
        and noted == dict(made_with)
        and there.made_with.get("options") == dataclasses.asdict(request.options())
    )


def _pair_name(wanted: PhotoPairs, pair: tuple[int, int]) -> str:
    return "__".join(wanted.photos[index].stem for index in pair)
