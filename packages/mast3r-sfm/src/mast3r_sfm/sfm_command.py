"""What ``mast3r sfm`` does: photos in, a folder with the scene out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from mast3r_model import InputError, OutputError
from mast3r_model.cli import CommandContext, ModelOptions

from .cameras import read_cameras
from .known_cameras import KnownCameras
from .options import ReconstructionOptions
from .pairs import pair_indices, read_pairs
from .photos import ImageSet, open_images
from .predictions import PredictionOptions
from .reconstruct import reconstruct
from .scene import Scene
from .scene_storage import STATE_FILE
from .sparse import AdamOptions, AlignOptions, LmOptions, Solver
from .video import FrameChoice


@dataclass(frozen=True)
class SfmRequest:
    """The flags of the command; their help texts say what they are."""

    photos: Sequence[Path]
    recursive: bool
    fps: float | None
    max_frames: int
    masks: Sequence[Path]
    intrinsics: Path | None
    poses: Path | None
    graph: str
    pairs_file: Path | None
    size: int
    quality: Literal["coarse", "refine", "refine+depth"]
    solver: Solver
    matching_confidence: float
    shared_intrinsics: bool
    clean_depth: bool
    min_confidence: float | None
    engine: str
    cache: Path | None
    export: str
    output: Path | None
    overwrite: bool

    @property
    def folder(self) -> Path:
        """Where the scene goes: by default ``mast3r_<name of the input>``."""
        return self.output or Path(f"mast3r_{Path(self.photos[0]).resolve().stem}")


def run_sfm(context: CommandContext, request: SfmRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    folder = request.folder
    _check_folder(folder, overwrite=request.overwrite)
    known = _known(request)
    model = model_options.load(context)
    with context.timed("read"):
        images = open_images(
            request.photos,
            size=request.size,
            patch_size=model.patch_size,
            masks=request.masks,
            recursive=request.recursive,
            frames=FrameChoice(fps=request.fps, max_count=request.max_frames),
            frames_folder=folder / "frames",
        )
    with context.timed("reconstruct"):
        scene = reconstruct(
            images,
            model,
            pairs=_listed_pairs(request, images),
            known=known,
            cache=request.cache or folder / "cache",
            options=_options(request, model_options),
            progress=context.progress,
            on_forecast=lambda ahead: context.note(f"ahead: {ahead}"),
        )
    with context.timed("write"):
        written = scene.save(folder, formats=[name for name in request.export.split(",") if name])
    _report(context, scene, folder, written)


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Go on with a folder of ours; leave others alone."""
    ours = (STATE_FILE, "cache", "frames", ".saving")
    if folder.is_file():
        raise OutputError(f"{folder} is a file", "name a folder with --output")
    is_ours = any((folder / name).exists() for name in ours)
    if folder.is_dir() and any(folder.iterdir()) and not is_ours and not overwrite:
        raise OutputError(
            f"{folder} holds other files", "name another folder with --output, or give --overwrite"
        )


def _options(request: SfmRequest, model_options: ModelOptions) -> ReconstructionOptions:
    base: AlignOptions = AdamOptions() if request.solver == "adam" else LmOptions()
    return ReconstructionOptions(
        graph=request.graph,
        solver=request.solver,
        align=replace(
            base,
            fine=request.quality != "coarse",
            optimize_depth=request.quality == "refine+depth",
        ),
        prediction=PredictionOptions(batch_size=model_options.batch_size),
        engine=request.engine,
        matching_confidence=request.matching_confidence,
        shared_intrinsics=request.shared_intrinsics,
        clean_depth=request.clean_depth,
        min_confidence=request.min_confidence,
    )


def _known(request: SfmRequest) -> KnownCameras | None:
    """What --intrinsics and --poses say.

    Raises:
        InputError: they cannot be read.
    """
    if request.intrinsics is None and request.poses is None:
        return None
    poses = None if request.poses is None else read_cameras(request.poses)
    path = request.intrinsics
    if path is not None and path.is_file() and path.suffix.lower() != ".json":
        return KnownCameras(shared_intrinsics=_read_matrix(path), poses=poses)
    return KnownCameras(intrinsics=None if path is None else read_cameras(path), poses=poses)


def _read_matrix(path: Path) -> np.ndarray:
    try:
        matrix = np.loadtxt(path, dtype=np.float64)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read intrinsics from {path}: {error}", "expected a 3x3 matrix") from error
    if matrix.shape != (3, 3):
        raise InputError(f"{path} holds an array of shape {matrix.shape}", "expected a 3x3 matrix")
    return matrix


def _listed_pairs(request: SfmRequest, images: ImageSet) -> list[tuple[int, int]] | None:
    if request.pairs_file is None:
        return None
    return pair_indices(read_pairs(request.pairs_file).names, images.names)


def _report(context: CommandContext, scene: Scene, folder: Path, written: Sequence[Path]) -> None:
    tracks = scene.report["tracks"]
    context.say(f"{'photos placed':<24} {len(scene.images)} of {scene.report['images']}")
    if len(scene.report["components"]) > 1:
        sizes = ", ".join(str(len(group)) for group in scene.report["components"])
        context.warn(f"the photos fall into groups that no match connects, of {sizes} photos")
    context.say(f"{'tracks':<24} {tracks['count']}, {tracks['observations']} observations")
    if tracks["mean_reprojection_error"] is not None:
        context.say(f"{'reprojection error':<24} {tracks['mean_reprojection_error']:.2f} px, mean")
    context.say(f"{'points':<24} {len(scene.points)}")
    for drop in scene.dropped:
        context.partial(f"{drop.name} is left out: {drop.reason}")
    context.result(
        folder=folder,
        written=list(written),
        **{name: scene.report[name] for name in ("placed", "components", "dropped", "tracks", "stages")},
    )
    context.note(f"written: {folder}")
    context.note(f"next: open {folder / 'scene.glb'}, or mast3r evaluate scenes {folder} TRUTH")
