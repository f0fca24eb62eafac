"""Files of a release at their prepared place: linked if possible, and never half-written (spec 50 D8)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from mast3r_model import ImageError, InputError, atomic_write, output_error
from mast3r_visloc.formats.lines import relative_name
from mast3r_visloc.reasons import reason

from .contract import Placed


@dataclass(frozen=True)
class RawFile:
    """A file of a release, perhaps inside a zip.

    Attributes:
        path: the file, or the zip.
        member: its name in the zip; empty for a plain file.
    """

    path: Path
    member: str = ""

    def __str__(self) -> str:
        """For messages."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    def read_bytes(self) -> bytes:
        """The content.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return _archive(self.path).read(self.member) if self.member else self.path.read_bytes()
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            raise InputError(f"cannot read {self}: {reason(error)}", "download or unpack it again") from error


@lru_cache(maxsize=4)
def _archive(path: Path) -> zipfile.ZipFile:
    """An open zip; every process has its own."""
    return zipfile.ZipFile(path)


def zip_members(path: Path) -> list[str]:
    """The names of the files in a zip.

    Raises:
        InputError: it is no zip, or is damaged.
    """
    try:
        return [entry.filename for entry in _archive(path).infolist() if not entry.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {path}: {reason(error)}", "download it again") from error


def inside(folder: Path, name: str) -> Path:
    """The file that a name of a list stands for; names are labels and cannot leave the folder.

    Raises:
        InputError: an absolute name, one with ``..``, or one that kapture's lists cannot hold.
    """
    relative_name(name, str(folder))
    if "," in name:
        raise InputError(f"the name {name!r} holds a comma, which kapture's lists cannot")
    return folder / name


def place_file(target: Path, source: RawFile) -> Placed:
    """Give a raw file a second name; where the disk cannot do that, or from a zip, copy it.

    Raises:
        InputError: the raw file cannot be read.
        OutputError: the target cannot be written.
    """
    if not source.member:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(target, error) from error
        try:
            os.link(source.path.resolve(), target)
        except FileExistsError:
            return "linked"
        except OSError:  # another disk, or a file system without links: the copy says what is really wrong
            pass
        else:
            return "linked"
    content = source.read_bytes()
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return "copied"


def write_lines(target: Path, lines: Iterable[str]) -> list[Path]:
    """Write a text file, unless it holds the same already.

    Returns:
        The file if it was written, else nothing.

    Raises:
        OutputError: it cannot be written.
    """
    content = "".join(f"{line}\n" for line in lines).encode()
    if target.is_file() and target.read_bytes() == content:
        return []
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return [target]


def read_lines(path: Path) -> list[str]:
    """The lines of a text file of a release.

    Raises:
        InputError: it cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error


def photo_size(path: Path) -> tuple[int, int]:
    """(width, height) of a photo's raw pixels; its orientation tag is not applied.

    Raises:
        ImageError: it is no photo.
    """
    try:
        with Image.open(path) as photo:
            return photo.size
    except Exception as error:  # Pillow's parsers raise many kinds for damaged files
        raise ImageError(f"cannot read the photo {path}: {reason(error)}", "download it again") from error


def first_existing(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of several names that is there."""
    return next((folder / name for name in names if (folder / name).exists()), None)
