"""What the user names on the command line: photos, pairs of them, their masks (spec 60 F3)."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import InputError, nearest_names

_PAIRS_HINT = "`mast3r pairs` writes such lists: a.jpg, b.jpg"

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif")


@dataclass(frozen=True)
class PhotoPairs:
    """Photos, and which of them to match.

    Attributes:
        photos: files, each once.
        pairs: indices into `photos`.
    """

    photos: tuple[Path, ...]
    pairs: tuple[tuple[int, int], ...]


def find_photos(inputs: Sequence[str | Path], *, recursive: bool = False) -> list[Path]:
    """Files named by files, folders, globs and lists, in that order; a folder's in natural order.

    Args:
        inputs: files, folders, quoted globs, or ``.txt`` lists with one name a line (``#`` comments; what
            follows a name that is no file as a whole line is ignored).
        recursive: look into folders of folders.

    Raises:
        InputError: a folder or glob without photos, or a name that is neither there nor that of a photo. A
            photo that is not there is left to whoever reads it: of many, one may be skipped.
    """
    found: list[Path] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            inside = _in_folder(path, recursive=recursive)
            if not inside:
                raise InputError(
                    f"no photos in {path}",
                    f"looked for {', '.join(PHOTO_SUFFIXES)}; --recursive looks deeper",
                )
            found += inside
        elif path.suffix.lower() == ".txt":
            found += find_photos(_listed_photos(path), recursive=recursive)
        elif not path.exists() and glob.has_magic(str(given)):
            matched = sorted(map(Path, glob.glob(str(given), recursive=True)), key=natural_order)
            if not matched:
                raise InputError(f"no file matches {given}", "check the pattern; ** goes through folders")
            found += matched
        elif not path.exists() and path.suffix.lower() not in PHOTO_SUFFIXES:
            raise _not_there(path)
        else:
            found.append(path)  # whoever reads it says what is wrong with it
    return list(dict.fromkeys(found))


def find_pairs(
    inputs: Sequence[str | Path], pairs_file: Path | None = None, *, recursive: bool = False
) -> PhotoPairs:
    """Photos and pairs: those of a list of pairs, else every photo with every later one.

    Args:
        inputs: see `find_photos`; a single ``.txt`` file with two names a line is a list of pairs.
        pairs_file: two names a line, separated by spaces or commas (more columns are ignored); names as in
            `inputs`, or relative to the folder among them, or to the file.
        recursive: look into folders of folders.

    Raises:
        InputError: fewer than two photos, or pairs that name other photos.
    """
    if pairs_file is None and len(inputs) == 1 and _is_pair_list(Path(inputs[0])):
        pairs_file, inputs = Path(inputs[0]), []
    if pairs_file is None:
        photos = find_photos(inputs, recursive=recursive)
        if len(photos) < 2:
            raise InputError(
                f"matching needs two photos or more, got {len(photos)}",
                "give two files, a folder, or a list of pairs",
            )
        return PhotoPairs(tuple(photos), tuple(itertools.combinations(range(len(photos)), 2)))
    folders = [Path(given) for given in inputs if Path(given).is_dir()]
    files = find_photos([given for given in inputs if Path(given) not in folders])
    listed = [path for folder in folders for path in _in_folder(folder, recursive=recursive)]
    known = {path.name: path for path in [*listed, *files]}
    rows: dict[Path, int] = {}
    pairs: list[tuple[int, int]] = []
    for names in map(_words, _lines(pairs_file)):
        if len(names) < 2:
            raise InputError(
                f"{pairs_file}: expected two photos a line, got {' '.join(names)!r}", _PAIRS_HINT
            )
        first, second = (
            rows.setdefault(_locate(name, pairs_file, folders, known), len(rows)) for name in names[:2]
        )
        if first == second:
            raise InputError(f"{pairs_file}: {names[0]} is paired with itself", "delete the line")
        pairs.append((first, second))
    if not pairs:
        raise InputError(f"{pairs_file} lists no pairs", _PAIRS_HINT)
    return PhotoPairs(tuple(rows), tuple(dict.fromkeys(pairs)))


def find_masks(given: Sequence[Path], photos: Sequence[Path]) -> list[Path | None]:
    """The mask of every photo: one file each in the photos' order, or by name in one folder.

    In a folder the mask of ``a.jpg`` is ``a.jpg.png``, ``a.png`` or ``a.jpg``; photos without one have none.

    Raises:
        InputError: a number of masks that does not fit, or a folder without any of the photos' masks.
    """
    if not given:
        return [None] * len(photos)
    if len(given) == 1 and given[0].is_dir():
        masks = [_mask_in(given[0], photo) for photo in photos]
        if not any(masks):
            raise InputError(
                f"{given[0]} holds no mask of these photos",
                f"name them like the photos, for instance {photos[0].name}.png",
            )
        return masks
    if len(given) != len(photos):
        raise InputError(
            f"{len(given)} masks for {len(photos)} photos", "give one mask for each photo, or a folder"
        )
    return list(given)


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts ``a2`` before ``a10``."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part.casefold())
        for part in re.split(r"(\d+)", str(path))
    ]


def _not_there(path: Path) -> InputError:
    """The error for a name that is nothing on the disk, with those that are and look like it."""
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = [str(path.parent / name) for name in nearest_names(path.name, beside)]
    hint = f"did you mean {' or '.join(near)}?" if near else "check the path"
    return InputError(f"no such file or folder: {path}", hint)


def _in_folder(folder: Path, *, recursive: bool) -> list[Path]:
    entries = folder.rglob("*") if recursive else folder.iterdir()
    photos = [path for path in entries if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()]
    return sorted(photos, key=natural_order)


def _lines(path: Path) -> list[str]:
    """Every line that is neither empty nor a comment."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _not_there(path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list {path}: {error}") from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _words(line: str) -> list[str]:
    """The words of a line; commas separate where there are any."""
    return [word.strip() for word in (line.split(",") if "," in line else line.split())]


def _listed_photos(listing: Path) -> list[Path]:
    """The photo of every line: a line that is a file as a whole, spaces and all, else its first word."""
    wholes = [(line, _beside(listing, line)) for line in _lines(listing)]
    return [whole if whole.exists() else _beside(listing, _words(line)[0]) for line, whole in wholes]


def _is_pair_list(path: Path) -> bool:
    if path.suffix.lower() != ".txt" or not path.is_file():
        return False
    lines = _lines(path)
    return bool(lines) and all(len(_words(line)) >= 2 and not _beside(path, line).exists() for line in lines)


def _locate(name: str, pairs_file: Path, folders: Sequence[Path], known: dict[str, Path]) -> Path:
    candidates = [*(folder / name for folder in folders), Path(name), pairs_file.parent / name]
    if name in known:
        return known[name]
    return next((path for path in candidates if path.exists()), candidates[0])


def _beside(listing: Path, name: str) -> Path:
    return Path(name) if Path(name).exists() else listing.parent / name


def _mask_in(folder: Path, photo: Path) -> Path | None:
    names = (f"{photo.name}.png", f"{photo.stem}.png", photo.name)
    return next((folder / name for name in names if (folder / name).is_file()), None)
