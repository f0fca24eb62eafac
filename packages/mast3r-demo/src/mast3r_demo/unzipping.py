"""Zips from visitors: nothing of them lands outside a folder, and no more inside than they say (60 D8)."""

from __future__ import annotations

import errno
import secrets
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mast3r_model import InputError, output_error

from .file_names import megabytes, shown_name

MAX_ZIP_ENTRIES = 10_000
MAX_ZIP_BYTES = 2 << 30
"""Of all files of a zip, unpacked."""

_CHUNK = 1 << 20

_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, NotImplementedError, EOFError)
"""What the standard library raises for zips that are not what they say."""


def unzip(archive: Path, folder: Path, *, max_zip_bytes: int, max_bytes: int = MAX_ZIP_BYTES) -> list[Path]:
    """Unpack an uploaded zip; nothing of it lands outside the folder, and no more than promised inside.

    Args:
        archive: the zip.
        folder: must not exist; it is whole when this returns, and is not there when this raises.
        max_zip_bytes: of the zip itself.
        max_bytes: of all its files, unpacked.

    Returns:
        The files.

    Raises:
        InputError: it is no zip, holds a link, a name that leads outside, or too much.
        OutputError: the folder cannot be written.
    """
    if archive.is_symlink() or not archive.is_file():
        raise InputError(f"{shown_name(archive)} is no file", "upload a zip")
    if archive.stat().st_size > max_zip_bytes:
        raise InputError(f"{shown_name(archive)} is too large: a zip may have {megabytes(max_zip_bytes)}")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        with zipfile.ZipFile(archive) as opened:
            names = _unpack_all(opened, temporary, archive, max_bytes)
        temporary.rename(folder)
    except _BROKEN as error:
        raise _broken(archive, error) from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"{shown_name(archive)} holds a file and a folder of one name") from error
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENAMETOOLONG):  # a place or a name that the zip made up
            raise _broken(archive, error) from error
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [folder / name for name in names]


def _broken(archive: Path, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
    return InputError(f"{shown_name(archive)} cannot be unpacked: {reason}", "zip it again")


def _unpack_all(opened: zipfile.ZipFile, folder: Path, archive: Path, max_bytes: int) -> list[PurePosixPath]:
    """Write everything below a new folder, once all names and sizes have been looked at."""
    names = {_checked_name(entry, archive): entry for entry in opened.infolist()}
    _check_sizes(opened.infolist(), archive, max_bytes)
    folder.mkdir(mode=0o700, parents=True)
    left, written = max_bytes, []
    for name, entry in names.items():
        if not entry.is_dir():
            left -= _unpack(opened, entry, folder.joinpath(*name.parts), left, archive)
            written.append(name)
    return written


def _checked_name(entry: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    """Where an entry goes, relative to the folder.

    Raises:
        InputError: it is a link, encrypted, or its name leads outside.
    """
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    drive = ":" in (name.parts[0] if name.parts else "")
    if name.is_absolute() or drive or ".." in name.parts or not name.parts or "\0" in entry.filename:
        raise InputError(
            f"{shown_name(archive)} holds the name {entry.filename[:80]!r}, which leads outside of it",
            "zip a folder of plain files",
        )
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(
            f"{shown_name(archive)} holds {entry.filename[:80]!r}, which is a link or worse",
            "zip a folder of plain files",
        )
    if entry.flag_bits & 0x1:
        raise InputError(f"{shown_name(archive)} is encrypted", "zip it without a password")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{shown_name(archive)} is compressed in an unusual way", "use plain zip")
    return name


def _check_sizes(entries: Sequence[zipfile.ZipInfo], archive: Path, max_bytes: int) -> None:
    if len(entries) > MAX_ZIP_ENTRIES:
        raise InputError(
            f"{shown_name(archive)} holds {len(entries)} files, at most {MAX_ZIP_ENTRIES} are taken"
        )
    total = sum(entry.file_size for entry in entries)
    if total > max_bytes:
        raise InputError(
            f"{shown_name(archive)} unpacks to {megabytes(total)}, at most {megabytes(max_bytes)} are taken"
        )


def _unpack(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int, archive: Path) -> int:
    """Write one file; its size as counted here, for what a header says may be a lie.

    Raises:
        InputError: it is larger than what is left.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = 0
    with opened.open(entry) as source, open(target, "xb") as copy:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > min(left, entry.file_size):
                raise InputError(f"{shown_name(archive)} holds more than its list of files says")
            copy.write(chunk)
    return size
