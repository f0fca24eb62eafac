"""What ``mast3r visloc export`` does: a run's poses in the formats of others (spec 50 D7)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mast3r_model import output_error
from mast3r_model.cli import CommandContext, refuse_existing
from mast3r_visloc.evaluation import export_run, read_run
from mast3r_visloc.evaluation.names import NameStyle
from mast3r_visloc.evaluation.pose_files import OnFailure

MODEL_FILES = frozenset(f"{name}.txt" for name in ("cameras", "frames", "images", "points3D", "rigs"))
_DEFAULT_NAMES = {"ltvl": "ltvl.txt", "hloc": "hloc.txt", "colmap": "colmap_photos", "csv": "poses.csv"}


@dataclass(frozen=True)
class ExportRequest:
    """The flags of the command; their help texts say what they are."""

    run: Path
    format: str
    name_style: NameStyle | None
    on_failure: OnFailure | None
    output: Path | None
    overwrite: bool


def run_export(context: CommandContext, request: ExportRequest) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    run = read_run(request.run)
    output = request.output or request.run / _DEFAULT_NAMES[request.format]
    refuse_existing(output, overwrite=request.overwrite)
    if request.overwrite and output.is_dir():
        _delete_model(output)
    count = export_run(
        run, output, request.format, name_style=request.name_style, on_failure=request.on_failure
    )
    if not run.complete:
        context.warn(f"{request.run} did not reach its end: these are the photos that are done")
    context.say(f"{count:,} of {len(run.records):,} photos in {output}")
    context.result(output=output, photos=count, queries=len(run.records))


def _delete_model(folder: Path) -> None:
    """Delete an earlier COLMAP model; files of others stay, and are then in the way of a new one.

    Raises:
        OutputError: it cannot be deleted.
    """
    try:
        if all(path.name in MODEL_FILES for path in folder.iterdir()):
            for path in folder.iterdir():
                path.unlink()
    except OSError as error:
        raise output_error(folder, error) from error
