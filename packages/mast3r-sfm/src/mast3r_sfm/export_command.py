"""What ``mast3r export`` does: a saved scene in, files of other programs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mast3r_model import InputError, NothingFoundError, registry
from mast3r_model.cli import CommandContext, refuse_existing

from .appearance import ViewFilters
from .scene import Scene
from .view_filters import filtered, shown_confidence


@dataclass(frozen=True)
class ExportRequest:
    """The flags of the command; their help texts say what they are."""

    scene: Path
    formats: Sequence[str]
    view: ViewFilters
    clean_depth: bool
    only_photos: tuple[str, ...]
    output: Path | None
    overwrite: bool

    @property
    def folder(self) -> Path:
        """Where the files go: by default beside the scene."""
        return self.output or self.scene

    @property
    def format_names(self) -> tuple[str, ...]:
        """The formats, each once; ``glb,ply`` names two, as it does for ``mast3r sfm``.

        Raises:
            InputError: there is none.
        """
        names = [name.strip() for text in self.formats for name in text.split(",")]
        chosen = tuple(dict.fromkeys(name for name in names if name))
        if not chosen:
            raise InputError("no format is named", f"give --format with {', '.join(registry('exporters'))}")
        return chosen


def run_export(context: CommandContext, request: ExportRequest) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    formats = request.format_names
    for name in formats:
        registry("exporters")[name]  # unknown names are refused before the long part
    if request.folder.resolve() != request.scene.resolve():
        refuse_existing(request.folder, overwrite=request.overwrite)
    with context.timed("read"):
        scene = Scene.load(request.scene)
    with context.timed("filter"):
        shown = filtered(
            scene, replace(request.view, clean_depth=request.clean_depth, only_photos=request.only_photos)
        )
    threshold = shown_confidence(shown)
    if scene.images and not len(shown.points):
        context.partial(f"no pixel is left above a confidence of {threshold:.4g}: show more of them")
    with context.timed("write"):
        written = shown.export(request.folder, formats)
    if not written:
        raise NothingFoundError(f"{request.scene} has nothing to write as {', '.join(formats)}")
    context.say(f"{'photos':<24} {len(shown.images)}")
    context.say(f"{'points':<24} {len(shown.points)}, of confidence above {threshold:.4g}")
    for path in written[:_LISTED]:
        context.say(str(path))
    if len(written) > _LISTED:
        context.say(f"and {len(written) - _LISTED} files more")
    context.result(
        scene=request.scene,
        folder=request.folder,
        formats=formats,
        written=list(written),
        photos=len(shown.images),
        points=len(shown.points),
        min_confidence=threshold,
    )
    context.note(f"written: {request.folder}")
    context.note(f"next: mast3r view {request.scene}")


_LISTED = 12
"""Files that are named one by one."""
