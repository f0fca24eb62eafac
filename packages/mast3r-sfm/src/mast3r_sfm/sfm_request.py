"""The flags of ``mast3r sfm``, and what they mean for `reconstruct`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import click

from mast3r_model import InputError
from mast3r_model.cli import ModelOptions

from .appearance import ViewFilters
from .known_cameras import KnownCameras, read_known_cameras
from .options import DenseMapping, Mapper, ReconstructionOptions, Refine
from .predictions import PredictionOptions
from .scale import KnownDistance, Landmark
from .sparse import AdamOptions, AlignOptions, LmOptions, Solver


@dataclass(frozen=True)
class SfmRequest:
    """The flags of the command; their help texts say what they are. None: not said."""

    photos: Sequence[Path]
    recursive: bool
    strict: bool
    fps: float | None
    max_frames: int
    masks: Sequence[Path]
    intrinsics: Path | None
    poses: Path | None
    exif: bool
    distance: tuple[str, str, str] | None
    add_to: Path | None
    graph: str
    retrieval: str
    pairs_file: Path | None
    verify: bool
    matching_confidence: float
    size: int
    mapper: Mapper
    quality: Literal["coarse", "refine", "refine+depth"]
    solver: Solver
    lr1: float | None
    iters1: int | None
    lr2: float | None
    iters2: int | None
    schedule: Literal["linear", "cosine"] | None
    iters: int | None
    shared_intrinsics: bool
    refine: Refine
    clean_depth: bool
    view: ViewFilters
    engine: str
    cache: Path | None
    no_cache: bool
    export: str
    viewer: bool
    dry_run: bool
    output: Path | None
    overwrite: bool

    def __post_init__(self) -> None:
        """See that flags that belong to one choice come with it.

        Raises:
            click.UsageError: they do not.
        """
        for flags, owner, chosen in (
            (("lr1", "iters1", "lr2", "iters2"), "--solver adam", self.solver == "adam"),
            (("schedule", "iters"), "--mapper dense", self.mapper == "dense"),
        ):
            for name in flags:
                if getattr(self, name) is not None and not chosen:
                    raise click.UsageError(f"--{name} belongs to {owner}")
        if self.solver == "adam" and self.mapper != "sparse":
            raise click.UsageError("--solver belongs to --mapper sparse")
        if self.no_cache and self.cache is not None:
            raise click.UsageError("--cache and --no-cache: give one of them")
        if self.viewer and self.dry_run:
            raise click.UsageError("--viewer shows a reconstruction, and --dry-run makes none")
        if self.add_to is not None and self.dry_run:
            raise click.UsageError("--dry-run is of a whole reconstruction, not of --add-to")

    @property
    def folder(self) -> Path:
        """Where the scene goes: by default ``mast3r_<name of the input>``, or the scene that grows."""
        return self.output or self.add_to or Path(f"mast3r_{Path(self.photos[0]).resolve().stem}")

    @property
    def cache_folder(self) -> Path | None:
        """Where predictions are kept; None: nowhere beyond the run."""
        return None if self.no_cache else self.cache or (self.add_to or self.folder) / "cache"

    @property
    def formats(self) -> list[str]:
        """Names of exporters."""
        return [name.strip() for name in self.export.split(",") if name.strip()]

    def options(self, model_options: ModelOptions) -> ReconstructionOptions:
        """What `reconstruct` is told.

        Raises:
            InputError: the known distance cannot be understood.
        """
        return ReconstructionOptions(
            graph=self.graph,
            retriever=self.retrieval,
            mapper=self.mapper,
            solver=self.solver,
            align=self._align_options(),
            dense=_changed(DenseMapping(), iterations=self.iters, schedule=self.schedule),
            refine=self.refine,
            prediction=PredictionOptions(batch_size=model_options.batch_size),
            engine=self.engine,
            verify=self.verify,
            matching_confidence=self.matching_confidence,
            shared_intrinsics=self.shared_intrinsics,
            clean_depth=self.clean_depth,
            min_confidence=self.view.min_confidence,
            known_distance=None if self.distance is None else _distance(self.distance),
        )

    def _align_options(self) -> AlignOptions:
        base: AlignOptions = LmOptions()
        if self.solver == "adam":
            base = _changed(
                AdamOptions(),
                coarse_lr=self.lr1,
                coarse_iterations=self.iters1,
                fine_lr=self.lr2,
                fine_iterations=self.iters2,
            )
        return replace(
            base,
            fine=self.quality != "coarse" and self.iters2 != 0,
            optimize_depth=self.quality == "refine+depth",
        )

    def known(self) -> KnownCameras | None:
        """What --intrinsics and --poses say.

        Raises:
            InputError: they cannot be read.
        """
        return read_known_cameras(self.intrinsics, self.poses)


def _changed(options: Any, **said: Any) -> Any:
    """The options with what was said in the place of their defaults."""
    return replace(options, **{name: value for name, value in said.items() if value is not None})


def _distance(said: tuple[str, str, str]) -> KnownDistance:
    start, end, metres = said
    try:
        return KnownDistance(_landmark(start), _landmark(end), float(metres))
    except ValueError:
        raise InputError(
            f"--distance got {' '.join(said)}",
            "expected A B METRES, such as a.jpg b.jpg 1.5 or a.jpg@10,20 ...",
        ) from None


def _landmark(text: str) -> Landmark:
    """``photo`` or ``photo@x,y``; ValueError where the pixel is no pixel."""
    name, at, pixel = text.rpartition("@")
    if not at:
        return Landmark(text)
    x, y = pixel.split(",")
    return Landmark(name, (float(x), float(y)))
