"""Cutting the crops of a list out of photos, once, before pretraining (spec 40 section 11)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mast3r_model import InputError, OutputError, atomic_write
from mast3r_train.croco.crop_lists import Box, CropPair, read_crop_list
from mast3r_train.croco.sources import LISTING_NAME
from mast3r_train.preparing.framework import Frame, Preparation, PrepareReport, run_preparation

CROP_SIZE = 256
JPEG_QUALITY = 95
SETTINGS_NAME = "extraction.json"

_PAIRS_IN_FOLDER = 500
_UPRIGHT_DEGREES = 60


@dataclass(frozen=True)
class _Job:
    """The crops of one pair of photos.

    Attributes:
        images: folder of the photos.
        out: folder of the crops.
        pair: what to cut.
        stems: for each pair of crops, the start of its file names, relative to ``out``.
        size: side of the crops in pixels.
        quality: of the JPEG files.
    """

    images: Path
    out: Path
    pair: CropPair
    stems: tuple[str, ...]
    size: int
    quality: int


def extract_crops(
    crop_list: Path,
    images: Path,
    out: Path,
    *,
    size: int = CROP_SIZE,
    quality: int = JPEG_QUALITY,
    workers: int = 1,
    track: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> PrepareReport:
    """Write ``<stem>_1.jpg`` and ``<stem>_2.jpg`` for each pair of crops, and ``listing.txt`` with the stems.

    Pairs of photos whose crops are all there are left alone, so an interrupted extraction goes on. Photos
    that cannot be read, or do not contain their boxes, are left out of the listing and named in the report.

    Args:
        crop_list: see `read_crop_list`.
        images: folder that the list's photos are relative to.
        out: folder to write, such as ``data/ARKitScenes_crops``.
        size: side of the crops in pixels.
        quality: of the JPEG files.
        workers: processes.
        track: wraps the iteration over finished pairs of photos for a progress display.

    Raises:
        InputError: the list is broken or has no crops.
        OutputError: the folder cannot be written, or holds crops of another list.
    """
    pairs = list(read_crop_list(crop_list))
    total = sum(len(pair.boxes) for pair in pairs)
    if total == 0:
        raise InputError(f"{crop_list} has no crops", hint="give a list of crops, not of photos")
    _claim(out, crop_list, size, quality)
    names = crop_stems(total)
    jobs = [_Job(images, out, pair, tuple(next(names) for _ in pair.boxes), size, quality) for pair in pairs]
    frames = [
        Frame(name=", ".join(job.pair.names), marker=_file(out, job.stems[-1], 2), job=job) for job in jobs
    ]

    def finish() -> None:
        # A pair's last file is written when all others are there.
        done = (job for job in jobs if _file(out, job.stems[-1], 2).exists())
        with atomic_write(out / LISTING_NAME) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(f"{stem}\n" for job in done for stem in job.stems)

    return run_preparation(
        Preparation(frames, _cut_pair, finish, missing=tuple), workers=workers, track=track
    )


def crop_stems(total: int) -> Iterator[str]:
    """Names of that many pairs, in folders of 500, which lie in hexadecimal folders of at most 256."""
    folders = -(-total // _PAIRS_IN_FOLDER)
    levels = max(1, (max(folders - 1, 0).bit_length() + 7) // 8)
    digits = len(f"{max(total - 1, 0):x}")
    for number in range(total):
        folder = (number // _PAIRS_IN_FOLDER).to_bytes(levels, "big")
        yield "/".join([*(f"{byte:02x}" for byte in folder), f"{number:0{digits}x}"])


def turns_of(rotation: float) -> int:
    """Quarter turns counter-clockwise that a second photo, turned by so many degrees, is given."""
    return 0 if abs(rotation) <= _UPRIGHT_DEGREES else round(rotation / 90) % 4


def cut_crop(image: Image.Image, box: Box, size: int, *, turns: int = 0) -> Image.Image:
    """Cut a box out, scale it to a square, turn it by quarter turns counter-clockwise.

    Args:
        box: (left, top, right, bottom) in pixels.
        size: side of the result.
    """
    left, top, right, bottom = box
    much_larger = (right - left) * (bottom - top) > 4 * size * size
    method = Image.Resampling.LANCZOS if much_larger else Image.Resampling.BICUBIC
    crop = image.crop(box).resize((size, size), method)
    return crop.transpose(_TURNS[turns]) if turns else crop


_TURNS = {
    1: Image.Transpose.ROTATE_90,
    2: Image.Transpose.ROTATE_180,
    3: Image.Transpose.ROTATE_270,
}


def _cut_pair(job: _Job) -> None:
    """Write all crops of one pair of photos, the marker last."""
    photos = [_read(job.images / name) for name in job.pair.names]
    for boxes in job.pair.boxes:
        for photo, box, name in zip(photos, boxes, job.pair.names, strict=True):
            if box[2] > photo.width or box[3] > photo.height:
                raise InputError(
                    f"{job.images / name} has {photo.width}x{photo.height} pixels, but a crop is {box}",
                    hint="give the photos that the list was made for, in their full size",
                )
    turns = (0, turns_of(job.pair.rotation))
    for stem, boxes in zip(job.stems, job.pair.boxes, strict=True):
        for number in range(2):
            crop = cut_crop(photos[number], boxes[number], job.size, turns=turns[number])
            with atomic_write(_file(job.out, stem, number + 1)) as temporary:
                crop.save(temporary, quality=job.quality)


def _read(path: Path) -> Image.Image:
    """The photo as it is stored, not turned by its EXIF: the lists are in those pixels."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the photo {path}: {error}") from error


def _file(out: Path, stem: str, number: int) -> Path:
    return out / f"{stem}_{number}.jpg"


def _claim(out: Path, crop_list: Path, size: int, quality: int) -> None:
    """Note what the folder is for; crops of two lists in one folder would overwrite each other.

    Raises:
        OutputError: it is for something else.
    """
    with open(crop_list, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    wanted = {"crop_list_sha256": digest, "size": size, "quality": quality}
    note = out / SETTINGS_NAME
    if note.is_file():
        if json.loads(note.read_text(encoding="utf-8")) != wanted:
            raise OutputError(
                f"{out} holds crops of another list, size or quality", hint="give another output folder"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty and holds no extraction", hint="give another output folder")
    with atomic_write(note) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
