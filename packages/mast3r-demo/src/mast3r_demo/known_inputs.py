"""What a visitor knows beforehand: intrinsics, and masks of what may not match (spec 60 D2, issue 6)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_model import InputError

from .file_names import shown_name
from .limits import Limits, safe_unzip
from .uploads import Taken, take_photos
from .visits import Visit

if TYPE_CHECKING:
    from mast3r_sfm import KnownCameras, PosedCameras

ORIENTATION, TURNED = 0x0112, 5
"""EXIF's tag; from this value on, sides are swapped."""
INTRINSICS_TYPES = [".txt", ".json", ".zip"]


def known_cameras(
    visit: Visit, file: str | None, focal: float | None, photos: Taken, limits: Limits
) -> KnownCameras | None:
    """Known intrinsics, by the names that the photos have in the session.

    Args:
        visit: whose.
        file: gradio's path of a 3x3 matrix (.txt), a transforms.json, or a zip of a COLMAP model.
        focal: in pixels of the photos, the same for all; None or 0: not known.
        photos: of the reconstruction.
        limits: of what is unpacked.

    Raises:
        InputError: the file cannot be read, names none of the photos, or both are given.
    """
    from mast3r_sfm import KnownCameras
    from mast3r_sfm.known_cameras import read_known_cameras

    if file is not None and focal:
        raise InputError("a focal length and a file of intrinsics are both given", "give one of them")
    if file is not None:
        path = visit.take([file], [Path(file).suffix.lower()])[0]
        if path.suffix == ".zip":
            folder = path.with_suffix("")
            shutil.rmtree(folder, ignore_errors=True)
            safe_unzip(path, folder, limits)
            path = _model_folder(folder)
        known = read_known_cameras(path, None)
        if known is None or known.intrinsics is None:
            return known
        return replace(known, intrinsics=_renamed(known.intrinsics, photos))
    return None if not focal else KnownCameras(intrinsics=_of_one_focal(focal, photos))


def masks_folder(
    visit: Visit, given: Sequence[str] | None, photos: Taken, limits: Limits
) -> tuple[Path, ...] | None:
    """A folder of masks named like the photos in the session.

    Args:
        visit: whose.
        given: gradio's paths: one mask for all photos, one for each in their order, or named like them.
        photos: of the reconstruction.
        limits: of what is taken.

    Raises:
        InputError: a mask is no picture, or nobody can say which photo it is for.
    """
    if not given:
        return None
    masks = take_photos(visit, given, limits)
    if masks.refused:
        raise InputError(f"masks: {masks.refused[0]}", "masks are pictures, black where nothing may match")
    folder = visit.session.uploads / "masks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for photo, mask in _assigned(masks, photos):
        shutil.copyfile(mask, folder / f"{photo.name}.png")
    return (folder,)


def _of_one_focal(focal: float, photos: Taken) -> PosedCameras:
    """Cameras of one focal length that look through the middles of the photos; their poses are not known.

    Raises:
        InputError: there are no photos.
    """
    import numpy as np

    from mast3r_sfm import PosedCameras

    if not photos.paths:
        raise InputError("a focal length needs photos", "give photos, or a file of intrinsics")
    shapes = tuple(_upright_shape(path) for path in photos.paths)
    matrices = [
        [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]] for height, width in shapes
    ]
    unknown = np.full((len(shapes), 4, 4), np.nan)
    return PosedCameras(
        tuple(path.name for path in photos.paths), shapes, np.array(matrices, np.float64), unknown
    )


def _upright_shape(path: Path) -> tuple[int, int]:
    """(height, width) as the photo is to be seen, from its header."""
    from PIL import Image

    with Image.open(path) as opened:
        width, height = opened.size
        turned = opened.getexif().get(ORIENTATION, 1) >= TURNED
    return (width, height) if turned else (height, width)


def _assigned(masks: Taken, photos: Taken) -> list[tuple[Path, Path]]:
    """Which mask is for which photo: by name (with or without the suffix), by order, or one for all."""
    by_stem = {Path(name).stem.removesuffix("_mask"): path
               for name, path in zip(masks.names, masks.paths, strict=True)}  # fmt: skip
    named = [
        (photo, by_stem.get(name) or by_stem.get(Path(name).stem))
        for photo, name in zip(photos.paths, photos.names, strict=True)
    ]
    found = [(photo, mask) for photo, mask in named if mask is not None]
    if len(found) == len(set(by_stem)):
        return found
    if len(masks.paths) == 1:
        return [(photo, masks.paths[0]) for photo in photos.paths]
    if len(masks.paths) == len(photos.paths):
        return list(zip(photos.paths, masks.paths, strict=True))
    raise InputError(
        f"{len(masks.paths)} masks for {len(photos.paths)} photos, and their names differ",
        f"give one, one for each photo, or name them like the photos, such as {_example(photos)}",
    )


def _example(photos: Taken) -> str:
    return f"{Path(shown_name(Path(photos.names[0]))).stem}.png" if photos.names else "photo.png"


def _renamed(cameras: PosedCameras, photos: Taken) -> PosedCameras:
    """Cameras by our names for the photos.

    Raises:
        InputError: they are of none of them.
    """
    found = cameras.find(photos.names)
    rows = [(path.name, index) for path, index in zip(photos.paths, found, strict=True) if index is not None]
    if not rows:
        raise InputError(
            "the file of intrinsics names none of the photos",
            f"it names {', '.join(cameras.names[:3])}; the photos are {', '.join(photos.names[:3])}",
        )
    chosen = cameras.subset(index for _, index in rows)
    return replace(chosen, names=tuple(name for name, _ in rows))


def _model_folder(folder: Path) -> Path:
    """The COLMAP model in what was unpacked: at its top, or in the one folder that the zip holds."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(("__MACOSX", "."))]
    if len(entries) == 1 and entries[0].is_dir() and entries[0].name != "sparse":
        return entries[0]
    return folder
