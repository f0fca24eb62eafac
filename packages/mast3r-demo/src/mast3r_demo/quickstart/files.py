"""What is in the folder that the quickstart writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from mast3r_model import OutputError, atomic_write
from mast3r_model.cli import json_ready

from .example import CAMERAS_FILE, FOLDER, Example

SUMMARY_FILE = "quickstart.json"
PICTURE_FILE = "matches.png"
SCHEMA = "mast3r.quickstart/1"


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Write again into a folder of an earlier quickstart; leave others alone.

    Raises:
        OutputError: it is a file, lies in one, or holds something else.
    """
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place} is a file", "name a folder with --output")
    is_ours = (folder / SUMMARY_FILE).is_file()
    if folder.is_dir() and any(folder.iterdir()) and not is_ours and not overwrite:
        raise OutputError(
            f"{folder} holds other files", "name another folder with --output, or give --overwrite"
        )


def lay_out(example: Example, folder: Path, model: str) -> list[Path]:
    """Begin a folder: a note of what it is, the photos, and the true cameras.

    Args:
        example: what is copied.
        folder: made if it is missing.
        model: the network's name.

    Returns:
        The photos' copies, in order.

    Raises:
        OutputError: the folder cannot be written.
    """
    # First, so that a run that was interrupted can be started again.
    write_summary(folder, {"model": model, "finished": False})
    copies = [folder / "photos" / photo.name for photo in example.photos]
    for photo, copy in zip(example.photos, copies, strict=True):
        copied(photo, copy)
    copied(FOLDER / CAMERAS_FILE, folder / "truth" / CAMERAS_FILE)
    return copies


def copied(source: Path, target: Path) -> None:
    """Copy a file."""
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def write_summary(folder: Path, values: dict[str, object]) -> Path:
    """The folder's own note: which network made it, and how near to the truth it came."""
    path = folder / SUMMARY_FILE
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(json_ready({"schema": SCHEMA, **values}), indent=1), encoding="utf-8")
    return path
