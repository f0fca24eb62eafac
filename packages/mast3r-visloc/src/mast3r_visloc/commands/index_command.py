"""What ``mast3r visloc index`` does: a map's photos encoded once, for all later queries (spec 50 D1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mast3r_model.cli import CommandContext, ModelOptions
from mast3r_visloc.localizing import build_index
from mast3r_visloc.maps import read_map


@dataclass(frozen=True)
class IndexRequest:
    """The flags of the command; their help texts say what they are."""

    map: Path
    images: Path | None
    size: int | None
    densify: bool


def run_index(context: CommandContext, request: IndexRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    with context.timed("read"):
        localization_map = read_map(request.map, images=request.images, need_points=not request.densify)
    model = model_options.load(context)
    with context.timed("encode"), context.progress("encoding", len(localization_map)) as advance:
        report = build_index(
            localization_map,
            model,
            size=request.size,
            batch_size=model_options.batch_size or 8,
            densify=request.densify,
            progress=advance,
        )
    for name in report.skipped:
        context.partial(f"skipped: {name} cannot be read")
    kept = report.images - report.encoded
    context.say(
        f"{report.images:,} photos in the index ({report.encoded:,} encoded now, {kept:,} were there), "
        f"{report.bytes / 2**20:.1f} MiB"
    )
    if request.densify:
        context.say(f"{report.densified:,} photos without 3D have the network's points")
    context.result(
        folder=report.folder,
        images=report.images,
        encoded=report.encoded,
        skipped=list(report.skipped),
        bytes=report.bytes,
        densified=report.densified,
    )
    context.note(f"written: {report.folder}")
    context.note(f"next: mast3r visloc localize {request.map} PHOTO")
