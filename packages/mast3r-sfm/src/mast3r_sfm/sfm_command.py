"""What ``mast3r sfm`` does: photos in, a folder with the scene out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_model import AsymmetricCroCo3DStereo, InputError, OutputError, registry
from mast3r_model.cli import CommandContext, ModelOptions

from .extending import extend_scene, network_size
from .forecasts import rehearse
from .known_cameras import KnownCameras, with_noted_focals
from .options import ReconstructionOptions
from .pairs import check_graph, pair_indices, read_pairs
from .photos import ImageSet, open_images
from .predictions import PredictionCache
from .reconstruct import check_count, choose_pairs, reconstruct
from .scene import Scene
from .scene_storage import STATE_FILE
from .sfm_request import SfmRequest
from .video import FrameChoice
from .view_filters import filtered
from .viewer.server import require_viser

if TYPE_CHECKING:
    from .viewer.live import LiveView


def run_sfm(context: CommandContext, request: SfmRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    if request.viewer:
        require_viser()
    folder = request.folder
    _check_folder(folder, overwrite=request.overwrite)
    for name in request.formats:
        registry("exporters")[name]  # unknown names are refused before the long part
    registry("engines")[request.engine]
    check_graph(request.graph)
    options, known = request.options(model_options), request.known()
    old = None if request.add_to is None else Scene.load(request.add_to)
    model = model_options.load(context)
    with context.timed("read"):
        images = _open(context, request, model.patch_size, old)
    if request.exif:
        known = with_noted_focals(images, known)
    if request.dry_run:
        _rehearse(context, request, model, images, options)
        return
    with _viewer(context, request) as live:
        scene = _reconstruct(context, request, model, images, old, known, options, live)
        with context.timed("write"):
            shown = filtered(scene, request.view)
            written = scene.save(folder, formats=request.formats, shown=shown)
        _report(context, shown, folder, written)
        if live is not None:
            live.show(shown)
            live.stay()


def _reconstruct(
    context: CommandContext,
    request: SfmRequest,
    model: AsymmetricCroCo3DStereo,
    images: ImageSet,
    old: Scene | None,
    known: KnownCameras | None,
    options: ReconstructionOptions,
    live: LiveView | None,
) -> Scene:
    """The long part."""
    shared: dict[str, Any] = {
        "known": known,
        "cache": request.cache_folder,
        "options": options,
        "progress": context.progress if live is None else live.progress,
        "on_forecast": lambda ahead: context.note(f"ahead: {ahead}") if ahead.pairs else None,
        "on_partial": None if live is None else live.show_partial,
    }
    with context.timed("reconstruct"), _resumable(context, request.cache_folder):
        if old is None:
            return reconstruct(images, model, pairs=_listed_pairs(request, images), **shared)
        return extend_scene(old, images, model, pairs=_listed_names(request), **shared)


@contextmanager
def _viewer(context: CommandContext, request: SfmRequest) -> Iterator[LiveView | None]:
    """The browser's view of this run, if it is asked for."""
    if not request.viewer:
        yield None
        return
    from .viewer.live import live_view

    with live_view(context) as live:
        yield live


@contextmanager
def _resumable(context: CommandContext, cache: Path | None) -> Iterator[None]:
    """Say at an interruption what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        if cache is not None:
            context.note(f"kept: predictions in {cache}; the same command goes on from there")
        raise


def _rehearse(
    context: CommandContext,
    request: SfmRequest,
    model: AsymmetricCroCo3DStereo,
    images: ImageSet,
    options: ReconstructionOptions,
) -> None:
    """Say what a run would take."""
    check_count(images)
    cache = request.cache_folder
    cache = cache if cache is not None and cache.is_dir() else None
    pairs = _listed_pairs(request, images)
    if pairs is None:
        pairs = choose_pairs(images, model, PredictionCache(cache), options, context.progress)
    ahead = rehearse(model, images, pairs, options, cache=cache, formats=request.formats)
    context.say(f"{'photos':<24} {len(images)}")
    for drop in images.dropped:
        context.partial(_one_line(f"{drop.name} would be left out: {drop.reason}"))
    context.say(f"{'pairs':<24} {len(pairs)}")
    context.say(str(ahead))
    context.result(photos=images.names, pairs=pairs, forecast=ahead, seconds=ahead.seconds)


def _open(context: CommandContext, request: SfmRequest, patch_size: int, old: Scene | None) -> ImageSet:
    """The photos, at the size of the scene that they are for."""
    images = open_images(
        request.photos,
        size=request.size if old is None else network_size(old.images),
        patch_size=patch_size,
        masks=request.masks,
        recursive=request.recursive,
        frames=FrameChoice(fps=request.fps, max_count=request.max_frames),
        frames_folder=request.folder / "frames",
        progress=context.progress,
    )
    if request.strict and images.dropped:
        first = images.dropped[0]
        raise InputError(f"{first.name} cannot be used: {first.reason}", "take it away, or no --strict")
    return images


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Go on with a folder of ours; leave others alone."""
    ours = (STATE_FILE, "cache", "frames", ".saving")
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place} is a file", "name a folder with --output")
    is_ours = any((folder / name).exists() for name in ours)
    if folder.is_dir() and any(folder.iterdir()) and not is_ours and not overwrite:
        raise OutputError(
            f"{folder} holds other files", "name another folder with --output, or give --overwrite"
        )


def _listed_pairs(request: SfmRequest, images: ImageSet) -> list[tuple[int, int]] | None:
    if request.pairs_file is None:
        return None
    return pair_indices(read_pairs(request.pairs_file).names, images.names)


def _listed_names(request: SfmRequest) -> Sequence[tuple[str, str]] | None:
    return None if request.pairs_file is None else read_pairs(request.pairs_file).names


def _report(context: CommandContext, scene: Scene, folder: Path, written: Sequence[Path]) -> None:
    report, tracks = scene.report, scene.report["tracks"]
    context.say(f"{'photos placed':<24} {len(scene.images)} of {report['images']}")
    if "added" in report:
        context.say(f"{'added':<24} {len(report['added'])}, to {report['kept']} that stay as they were")
    if len(report["components"]) > 1:
        sizes = ", ".join(str(len(group)) for group in report["components"])
        context.warn(f"the photos fall into groups that no match connects, of {sizes} photos")
    for first, second in report.get("bridges", []):
        context.warn(f"{first} and {second} match, but are in groups of the scene that stay apart")
    context.say(f"{'tracks':<24} {tracks['count']}, {tracks['observations']} observations")
    if tracks["mean_reprojection_error"] is not None:
        context.say(f"{'reprojection error':<24} {tracks['mean_reprojection_error']:.2f} px, mean")
    context.say(f"{'points':<24} {len(scene.points)}")
    for drop in scene.dropped:
        context.partial(_one_line(f"{drop.name} is left out: {drop.reason}"))
    shown = ("placed", "added", "components", "dropped", "tracks", "refinement", "scale", "stages")
    said = {name: report[name] for name in shown if name in report}
    context.result(folder=folder, written=list(written), **said)
    context.note(f"written: {folder}")
    context.note(f"next: open {folder / 'report.html'}, or mast3r export {folder} --format glb --mesh")


def _one_line(text: str) -> str:
    """Text with file names in it, which may hold line breaks and worse."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
