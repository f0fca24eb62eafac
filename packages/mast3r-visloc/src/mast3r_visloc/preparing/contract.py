"""What the preparations of the four benchmarks have in common: request, plan, report (spec 50 D8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from mast3r_match import Matches  # which brings torch

BenchmarkName = Literal["aachen", "cambridge", "7scenes", "inloc"]
Points = Literal["nvm", "triangulate"]
Placed = Literal["linked", "copied", "made"]
"""How a file came to its place: a second name of the raw file, a copy of its bytes, or computed."""

Item = TypeVar("Item")


class Track(Protocol):
    """Goes through an iterable and shows progress, as ``CommandContext.track`` does."""

    def __call__(
        self, iterable: Iterable[Item], description: str, total: int | None = None, /
    ) -> Iterable[Item]:
        """The items of `iterable`, unchanged."""
        ...


PairMatcher = Callable[[Sequence[Path], Sequence[tuple[int, int]]], "Iterable[Matches]"]
"""Matches pairs of photos: paths, and pairs of indices into them; one result each, in their order."""


@dataclass(frozen=True)
class PreparationRequest:
    """What the user asks for.

    Attributes:
        benchmark: which.
        raw: folder of the public release; never written to.
        out: folder to write.
        scenes: which scenes; empty: all that the raw folder has.
        pairs: file with query pairs, or a folder with one or more for each scene.
        legacy_registration: 7scenes: register depth as kapture's importer does, errors included (trap 27).
        points: cambridge: where the map's 3D points come from.
        neighbours: cambridge, ``triangulate``: how many photos each map photo is matched with.
        cutout_poses: inloc: work out the pose of every cutout from its scan.
        workers: processes.
    """

    benchmark: BenchmarkName
    raw: Path
    out: Path
    scenes: tuple[str, ...] = ()
    pairs: Path | None = None
    legacy_registration: bool = False
    points: Points = "nvm"
    neighbours: int = 20
    cutout_poses: bool = False
    workers: int = 1


@dataclass(frozen=True)
class Piece:
    """A file to make.

    Attributes:
        target: the file; it is finished when it exists.
        make: a function at the top of a module; gets `target` and `job`, writes `target` in one step.
        job: picklable.
        problem: why it cannot be made, if that is known before: it names the raw file.
    """

    target: Path
    make: Callable[[Path, Any], Placed] | None = None
    job: Any = None
    problem: str = ""


@dataclass(frozen=True)
class ScenePlan:
    """What is to be made for one scene, or for a benchmark that has only one.

    Attributes:
        name: of the scene; empty for a benchmark that has only one.
        pieces: photos, scans, depth; made in any order, perhaps in other processes.
        finish: called one after another when the pieces are done, in this process: each writes lists, and
            returns the files that it wrote (none if they were there and right).
        queries: file of every query by its name.
        map_photos: file of every map image by its name.
        pairs_folder: where the dataset looks for files of query pairs.
        expression: the dataset as ``mast3r visloc evaluate`` takes it, given the stem of a file of pairs.
        problems: what is wrong with the raw files and belongs to no piece.
    """

    name: str
    pieces: Sequence[Piece]
    finish: Sequence[Callable[[], Iterable[Path]]]
    queries: Mapping[str, Path]
    map_photos: Mapping[str, Path]
    pairs_folder: Path
    expression: Callable[[str], str]
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CandidateRequest:
    """For which queries, in which map, candidates are wanted.

    Attributes:
        scene: name, for progress; may be empty.
        queries: file of every query by its name.
        map_photos: file of every map image by its name.
    """

    scene: str
    queries: Mapping[str, Path]
    map_photos: Mapping[str, Path]


@dataclass(frozen=True)
class CandidateFinder:
    """Finds map images that look like a query, for preparations without a file of pairs.

    Attributes:
        label: stem of the file of pairs that is written, such as ``encoder_top20``.
        find: (query name, map name, score) of all queries, best first.
    """

    label: str
    find: Callable[[CandidateRequest], Iterable[tuple[str, str, float]]]


@dataclass(frozen=True)
class PreparationReport:
    """How a preparation ended.

    Attributes:
        benchmark: which.
        out: the prepared folder.
        scenes: what was prepared; empty for a benchmark that has only one.
        absent_scenes: scenes of the benchmark that the raw folder does not have and nobody asked for.
        linked: files that are second names of raw files now; they take no space.
        copied: files copied or unpacked now.
        made: files computed now.
        kept: files that were there before.
        problems: file, relative to `out`, or raw file -> why it could not be made; names the raw file.
        missing_pairs: scenes for which there is no file of query pairs, by where it would lie.
        expressions: datasets as ``mast3r visloc evaluate`` takes them, one for every file of pairs.
    """

    benchmark: str
    out: Path
    scenes: Sequence[str]
    absent_scenes: Sequence[str]
    linked: int
    copied: int
    made: int
    kept: int
    problems: Mapping[str, str]
    missing_pairs: Mapping[str, str]
    expressions: Sequence[str]

    @property
    def complete(self) -> bool:
        """Whether the dataset classes find everything."""
        return not self.problems and not self.missing_pairs
