"""What ``mast3r sfm`` does: photos in, a folder with the scene out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mast3r_model import InputError, OutputError, registry
from mast3r_model.cli import CommandContext, ModelOptions

from .pairs import pair_indices, read_pairs
from .photos import ImageSet, open_images
from .reconstruct import reconstruct
from .scene import Scene
from .scene_storage import STATE_FILE
from .sfm_request import SfmRequest
from .video import FrameChoice
from .view_filters import filtered


def run_sfm(context: CommandContext, request: SfmRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    folder = request.folder
    _check_folder(folder, overwrite=request.overwrite)
    for name in request.formats:
        registry("exporters")[name]  # unknown names are refused before the long part
    options, known = request.options(model_options), request.known()
    model = model_options.load(context)
    with context.timed("read"):
        images = _open(request, model.patch_size)
    with context.timed("reconstruct"):
        scene = reconstruct(
            images,
            model,
            pairs=_listed_pairs(request, images),
            known=known,
            cache=request.cache_folder,
            options=options,
            progress=context.progress,
            on_forecast=lambda ahead: context.note(f"ahead: {ahead}"),
        )
    with context.timed("write"):
        shown = filtered(scene, request.view)
        written = scene.save(folder, formats=request.formats, shown=shown)
    _report(context, shown, folder, written)


def _open(request: SfmRequest, patch_size: int) -> ImageSet:
    images = open_images(
        request.photos,
        size=request.size,
        patch_size=patch_size,
        masks=request.masks,
        recursive=request.recursive,
        frames=FrameChoice(fps=request.fps, max_count=request.max_frames),
        frames_folder=request.folder / "frames",
    )
    if request.strict and images.dropped:
        raise InputError(f"{images.dropped[0].name} cannot be used: {images.dropped[0].reason}")
    return images


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


def _listed_pairs(request: SfmRequest, images: ImageSet) -> list[tuple[int, int]] | None:
    if request.pairs_file is None:
        return None
    return pair_indices(read_pairs(request.pairs_file).names, images.names)


def _report(context: CommandContext, scene: Scene, folder: Path, written: Sequence[Path]) -> None:
    report, tracks = scene.report, scene.report["tracks"]
    context.say(f"{'photos placed':<24} {len(scene.images)} of {report['images']}")
    if len(report["components"]) > 1:
        sizes = ", ".join(str(len(group)) for group in report["components"])
        context.warn(f"the photos fall into groups that no match connects, of {sizes} photos")
    context.say(f"{'tracks':<24} {tracks['count']}, {tracks['observations']} observations")
    if tracks["mean_reprojection_error"] is not None:
        context.say(f"{'reprojection error':<24} {tracks['mean_reprojection_error']:.2f} px, mean")
    context.say(f"{'points':<24} {len(scene.points)}")
    for drop in scene.dropped:
        context.partial(f"{drop.name} is left out: {drop.reason}")
    shown = ("placed", "components", "dropped", "tracks", "scale", "stages")
    context.result(folder=folder, written=list(written), **{name: report[name] for name in shown})
    context.note(f"written: {folder}")
    context.note(f"next: open {folder / 'report.html'}, or mast3r export {folder} --format glb --mesh")
