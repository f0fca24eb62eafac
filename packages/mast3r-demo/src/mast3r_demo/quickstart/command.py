"""What ``mast3r quickstart`` does: match two photos, reconstruct all, compare with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mast3r_match import Matches, MatchOptions, match_images, save_match_picture
from mast3r_model import AsymmetricCroCo3DStereo, read_rgb
from mast3r_model.cli import CommandContext, ModelOptions
from mast3r_sfm import PredictionOptions, ReconstructionOptions, Scene, open_images, reconstruct

from .example import Example, load_example
from .files import PICTURE_FILE, check_folder, lay_out, write_summary
from .measures import Comparison, compare
from .table import lines, rows

GRAPH = "swin-2-noncyclic"
"""Each photo with the next two: whoever walks by sees the same from there."""
FORMATS = ("colmap", "nerfstudio", "glb", "ply", "depth")


@dataclass(frozen=True)
class QuickstartRequest:
    """The flags of the command; their help texts say what they are."""

    size: int
    output: Path
    overwrite: bool


def run_quickstart(context: CommandContext, request: QuickstartRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    example, folder = load_example(), request.output
    check_folder(folder, overwrite=request.overwrite)
    model = model_options.load(context)
    photos = lay_out(example, folder, model_options.model)
    with context.timed("match"):
        matches = _match(model, photos, request)
    with context.timed("reconstruct"):
        scene = _reconstruct(context, model, photos, request, model_options)
    comparison = compare(example, matches, scene)
    with context.timed("write"):
        written = [folder / PICTURE_FILE, *scene.save(folder, FORMATS)]
        written.append(
            write_summary(folder, {"model": model_options.model, "finished": True, "comparison": comparison})
        )
    _report(context, example, matches, scene, comparison)
    context.result(
        folder=folder,
        written=written,
        model=model_options.model,
        photos=photos,
        placed=[image.name for image in scene.images],
        points=len(scene.points),
        comparison=comparison,
    )
    _say_next(context, folder, model_options.model)


def _match(model: AsymmetricCroCo3DStereo, photos: list[Path], request: QuickstartRequest) -> Matches:
    """Matches of the first two photos, and their picture."""
    matches = match_images(
        model, photos[0], photos[1], size=request.size, options=MatchOptions(symmetric=True)
    )
    save_match_picture(
        request.output / PICTURE_FILE, matches, read_rgb(photos[0]), read_rgb(photos[1]), count=60
    )
    return matches


def _reconstruct(
    context: CommandContext,
    model: AsymmetricCroCo3DStereo,
    photos: list[Path],
    request: QuickstartRequest,
    model_options: ModelOptions,
) -> Scene:
    options = ReconstructionOptions(
        graph=GRAPH,
        shared_intrinsics=True,
        # Of everything that other photos do not contradict: nano's confidence is at its floor for most pixels
        # of this scene, and says little of where it is wrong.
        min_confidence=0.0,
        prediction=PredictionOptions(batch_size=model_options.batch_size),
    )
    images = open_images(photos, size=request.size, patch_size=model.patch_size)
    return reconstruct(images, model, options=options, progress=context.progress)


def _report(
    context: CommandContext, example: Example, matches: Matches, scene: Scene, comparison: Comparison
) -> None:
    seconds = {name: context.timings[name] for name in ("match", "reconstruct", "write")}
    for line in lines(rows(example, matches, scene, comparison, seconds)):
        context.say(line)
    for drop in scene.dropped:
        context.partial(f"{drop.name} is left out: {drop.reason}")
    if len(scene.components()) > 1:
        context.partial("the photos fall into groups that no match connects; the largest was compared")


def _say_next(context: CommandContext, folder: Path, model: str) -> None:
    """Where to look, and where to go from here."""
    context.note(f"written: {folder}")
    context.note(
        f"look:    {folder / 'report.html'}, {folder / PICTURE_FILE}; {folder / 'scene.glb'} in a 3D viewer"
    )
    context.note("next:    your own photos: mast3r sfm PHOTOS/ -o scene/, or in the browser: mast3r demo")
    if model == "nano":
        context.note(
            "weights: nano's are Apache-2.0, like the code; the official network's (2.75 GB, see the hint) "
            "are CC BY-NC-SA 4.0: no commercial use"
        )
