"""The photos of a map on the disk: where they lie, their size, and how they are turned."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from mast3r_model import InputError
from mast3r_visloc.formats.lines import relative_name

log = logging.getLogger("mast3r.visloc")

LEVELS_UP = 3
"""How far above a model photos are looked for: that of ``DATA/mapping/colmap/reconstruction`` has them in
``DATA/images``."""

_THREADS = 8
_OPENED_BY_A_TASK = 100
"""Photos: of maps with 100,000 a task for each would take longer than to open it."""

_NAMED = 3
_TURNS_OF_ORIENTATION = {1: 0, 3: 2, 6: 1, 8: 3}


@dataclass(frozen=True)
class PhotoFile:
    """A photo on the disk, of which only the header was read.

    Attributes:
        path: the file.
        shape: (height, width) of its pixels as they lie in the file, the EXIF orientation not applied.
        quarter_turns: how often `numpy.rot90` turns the upright photo to make it the file's; None if the
            EXIF orientation mirrors it.
    """

    path: Path
    shape: tuple[int, int]
    quarter_turns: int | None


def photo_folders(images: Path | None, starts: Iterable[Path]) -> tuple[Path, ...]:
    """Folders that may hold the photos of a map, likeliest first.

    Args:
        images: the user's choice, which is the only one then.
        starts: the map's folder and its parts; each is searched, and what lies above it, with ``images/``.

    Raises:
        InputError: the user's folder does not exist.
    """
    if images is not None:
        if not images.is_dir():
            raise InputError(f"there is no folder {images}", "--images names the folder of the map's photos")
        return (images,)
    found: dict[Path, None] = {}
    for start in starts:
        absolute = start.absolute()
        for folder in [absolute, *absolute.parents[:LEVELS_UP]]:
            found |= {folder / "images": None, folder: None}
    return tuple(found)


def find_photo_files(names: Sequence[str], folders: Sequence[Path], source: Path) -> dict[str, PhotoFile]:
    """The photos that are there and can be opened, all in the one folder that holds the most of them.

    Args:
        names: of the map's images, relative to their folder; labels: none may leave it.
        folders: where to look.
        source: the map, for messages.

    Returns:
        By name, in the order of `names`. The others are counted, and some named, in one warning.

    Raises:
        InputError: no names, one that leaves its folder, or none of the photos is there.
    """
    if not names:
        raise InputError(f"{source} names no photo with a pose", "a map needs some")
    for name in names:
        relative_name(name, str(source))
    folder = _fullest(names, folders)
    files = {} if folder is None else _open_all(folder, names)
    if not files:
        looked = [str(place) for place in folders if place.is_dir()] or [str(place) for place in folders]
        raise InputError(
            f"{source}: none of the map's {len(names)} photos ({_some(names)}) was found in "
            f"{', '.join(looked)}",
            "name the photos' folder with --images DIR",
        )
    missing = [name for name in names if name not in files]
    if missing:
        log.warning(
            "%d of the map's %d photos are missing or unreadable in %s and are left out: %s",
            len(missing), len(names), folder, _some(missing),
        )  # fmt: skip
    return files


def _fullest(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    best, most = None, 0
    for folder in folders:
        count = sum(os.path.isfile(os.path.join(folder, name)) for name in names) if folder.is_dir() else 0
        if count > most:
            best, most = folder, count
        if count == len(names):
            break
    return best


def _open_all(folder: Path, names: Sequence[str]) -> dict[str, PhotoFile]:
    def opened(start: int) -> list[PhotoFile | None]:
        return [photo_file(folder / name) for name in names[start : start + _OPENED_BY_A_TASK]]

    with ThreadPoolExecutor(_THREADS) as threads:
        parts = threads.map(opened, range(0, len(names), _OPENED_BY_A_TASK))
        files = [file for part in parts for file in part]
    return {name: file for name, file in zip(names, files, strict=True) if file is not None}


def photo_file(path: Path) -> PhotoFile | None:
    """What the header of a photo says; None if it cannot be opened."""
    try:
        with Image.open(path) as photo:
            width, height = photo.size
            orientation = photo.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # missing, or no image
        return None
    # Readers of photos ignore numbers that are no orientation; so do we.
    turns = _TURNS_OF_ORIENTATION.get(orientation, None if orientation in (2, 4, 5, 7) else 0)
    return PhotoFile(path, (height, width), turns)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
