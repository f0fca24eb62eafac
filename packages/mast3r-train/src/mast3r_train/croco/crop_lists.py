"""Lists of crops to cut out of pairs of photos (spec 40 section 11).

::

    # comments and empty lines are left out
    scene/a.jpg, scene/b.jpg, -12.5          two photos, and by how many degrees the second one is turned
    10, 266, 30, 286, 40, 296, 25, 281       a pair of crops: l1, r1, t1, b1, l2, r2, t2, b2
    ...
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import InputError

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels; right and bottom are outside."""

_PHOTO_FIELDS = 3
_CROP_FIELDS = 8


@dataclass(frozen=True)
class CropPair:
    """Two photos and the crops to cut out of them.

    Attributes:
        names: of the photos, relative to the folder of photos.
        rotation: by how many degrees the second photo is turned.
        boxes: one box in each photo, for each pair of crops.
    """

    names: tuple[str, str]
    rotation: float
    boxes: tuple[tuple[Box, Box], ...]


def read_crop_list(path: Path) -> Iterator[CropPair]:
    """Read a crop list, photo pair by photo pair.

    Raises:
        InputError: the file cannot be read, or a line is none of the two kinds; names the line.
    """
    pair: tuple[str, str, float] | None = None
    boxes: list[tuple[Box, Box]] = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                text = line.strip()
                if not text or text.startswith("#"):
                    continue
                fields = [field.strip() for field in text.split(",")]
                place = f"{path}, line {number}"
                if len(fields) == _CROP_FIELDS:
                    if pair is None:
                        raise InputError(f"{place}: crops before any photos", hint=_HINT)
                    boxes.append(_boxes(fields, place))
                    continue
                if pair is not None and boxes:
                    yield CropPair(pair[:2], pair[2], tuple(boxes))
                pair, boxes = _photos(fields, place), []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the crop list {path}: {error}") from error
    if pair is not None and boxes:
        yield CropPair(pair[:2], pair[2], tuple(boxes))


_HINT = "lines are 'photo1, photo2, degrees', each followed by lines 'l1, r1, t1, b1, l2, r2, t2, b2'"


def _photos(fields: list[str], place: str) -> tuple[str, str, float]:
    if len(fields) != _PHOTO_FIELDS or not all(fields):
        raise InputError(f"{place} has {len(fields)} fields, expected 3 or 8", hint=_HINT)
    try:
        rotation = float(fields[2])
    except ValueError:
        rotation = math.nan
    if not math.isfinite(rotation):
        raise InputError(f"{place}: the rotation is {fields[2]!r}, expected degrees", hint=_HINT)
    for name in fields[:2]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{place}: {name!r} leads out of the folder of photos", hint=_HINT)
    return fields[0], fields[1], rotation


def _boxes(fields: list[str], place: str) -> tuple[Box, Box]:
    try:
        l1, r1, t1, b1, l2, r2, t2, b2 = (int(field) for field in fields)
    except ValueError:
        raise InputError(f"{place}: expected 8 whole numbers", hint=_HINT) from None
    for left, right, top, bottom in ((l1, r1, t1, b1), (l2, r2, t2, b2)):
        if not (0 <= left < right and 0 <= top < bottom):
            raise InputError(f"{place}: an empty or negative box", hint=_HINT)
    return (l1, t1, r1, b1), (l2, t2, r2, b2)
