"""Where the camera of a query comes from (spec 50 D4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mast3r_model import ConfigError, InputError

from .camera import Camera
from .fitting import PhotoCameraError, fitted

FocalMode = Literal["known", "refine", "estimate"]
"""What PnP does about a focal length: take it as it is, refine it with the pose, or look for it."""

FocalChoice = Literal["auto", "known", "refine", "estimate"]
"""``auto``: given cameras are known, those of EXIF refined, others estimated."""

LISTED = "listed for this photo"
"""Where a camera comes from that a list of queries, or the dataset, gives."""

GUESSED_FOCAL = 1.2
"""In units of the photo's longer side, where nothing is known: a view of 45 degrees."""


@dataclass(frozen=True)
class QueryCamera:
    """The camera of a photo before it is localised.

    Attributes:
        camera: in the pixels of the file as it is, before its EXIF orientation is applied, as COLMAP counts
            them too (spec 50, trap 30). Where a network sees the photo upright, its pixels are turned back.
        source: where it comes from, for people.
        focal_known: False where the focal length is only a guess.
        focal: what PnP is to do about the focal length.
    """

    camera: Camera
    source: str
    focal_known: bool
    focal: FocalMode


def query_camera(
    path: Path,
    image_shape: tuple[int, int],
    *,
    spec: str | None = None,
    listed: Camera | None = None,
    listed_source: str = LISTED,
    from_map: Camera | None = None,
    focal: FocalChoice = "auto",
) -> QueryCamera:
    """The first camera that there is: given, listed, of the map, of EXIF, or a guess.

    EXIF counts as far as `mast3r_model.exif_focal` believes it: not for photos that were cropped or zoomed.
    The camera is then the one that `pycolmap.infer_camera_from_image` makes (SIMPLE_RADIAL, centred, without
    distortion), from more formats and without decoding the photo.

    Args:
        path: the photo.
        image_shape: (height, width) of the file's pixels, before its EXIF orientation is applied.
        spec: ``MODEL,width,height,params...``, as `parse_camera` reads it.
        listed: what a list of queries, or the dataset, says of this photo.
        listed_source: what to call the source of `listed`, for people.
        from_map: the camera of a map image that was taken with the same one.
        focal: what PnP is to do about the focal length.

    Raises:
        InputError: `spec` cannot be read.
        PhotoCameraError: the camera does not fit the photo, or the focal length is to be known and is not.
        ConfigError: an unknown `focal`.
    """
    if focal not in get_args(FocalChoice):
        raise ConfigError(f"focal must be one of {', '.join(get_args(FocalChoice))}, got {focal!r}")
    given = (
        (parse_camera(spec) if spec is not None else None, "given"),
        (listed, listed_source),
        (from_map, "of a map image"),
    )
    for camera, source in given:
        if camera is not None:
            camera, change = fitted(camera, path, image_shape)
            return _made(camera, f"{source}, {change}" if change else source, "known", focal)
    from mast3r_model import exif_focal  # here, because it imports torch

    noted = exif_focal(path)
    if noted is not None:
        return _made(_centred(noted, image_shape), "EXIF", "refine", focal)
    if focal == "known":
        raise PhotoCameraError(
            f"{path}: the focal length is to be taken as known, but the photo's EXIF data do not tell it",
            "give the camera, or let the focal length be estimated",
        )
    guess = _centred(GUESSED_FOCAL * max(image_shape), image_shape)
    return _made(guess, "unknown", "estimate", focal)


def parse_camera(text: str) -> Camera:
    """A camera written as ``MODEL,width,height,params...``, as COLMAP's files name and order them.

    Raises:
        InputError: another form, or no such camera.
    """
    hint = "write it like SIMPLE_RADIAL,4032,3024,3100,2016,1512,0.01 (model, width, height, parameters)"
    model, *rest = (field.strip() for field in text.split(","))
    try:
        width, height = (int(field) for field in rest[:2])
        params = tuple(float(field) for field in rest[2:])
    except ValueError:
        raise InputError(f"cannot read the camera {text!r}", hint) from None
    return Camera(model.upper(), width, height, params)


def _made(camera: Camera, source: str, automatic: FocalMode, focal: FocalChoice) -> QueryCamera:
    return QueryCamera(camera, source, automatic != "estimate", automatic if focal == "auto" else focal)


def _centred(focal: float, image_shape: tuple[int, int]) -> Camera:
    """A camera with its principal point in the middle, and no distortion until PnP finds one."""
    height, width = image_shape
    return Camera("SIMPLE_RADIAL", width, height, (focal, width / 2, height / 2, 0.0))
