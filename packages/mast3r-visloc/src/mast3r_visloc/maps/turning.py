"""Between upright photos and photos as they lie in their files (spec 50 B, trap 30).

A map's pixels are the FILE's: the EXIF orientation is not applied. Reconstructions that saw upright photos
(ours, and COLMAP models exported from them) are turned on reading. Turns are counter-clockwise, as
`numpy.rot90` turns arrays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float

from mast3r_model import ImageTransform, InputError
from mast3r_visloc.cameras import turned

from .contents import DensePoints, ImagePoints, MapImage, SparsePoints
from .photo_files import PhotoFile

_TURN = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""Camera frame of the turned photo from that of the photo."""


def in_file_pixels(image: MapImage, file: PhotoFile, *, upright: bool) -> MapImage:
    """A map image in the pixels of its file.

    Args:
        image: as the map describes it.
        file: the photo.
        upright: the map is known to describe upright photos. If False, that is seen from the sizes: a camera
            of the upright photo's size and not of the file's.

    Raises:
        InputError: the camera is of another size than the photo, or the file is mirrored.
    """
    if file.quarter_turns is None and upright:
        raise InputError(
            f"{file.path} is mirrored by its EXIF orientation", "save the photo upright, and map again"
        )
    turns = file.quarter_turns or 0
    upright_shape = file.shape[::-1] if turns % 2 else file.shape
    shape = file.shape if image.camera is None else image.camera.shape
    if upright and shape == upright_shape:
        return _turned_image(image, turns)
    if not upright and shape == file.shape:
        return image
    if not upright and shape == upright_shape:
        return _turned_image(image, turns)
    raise InputError(
        f"{file.path} has {file.shape[1]}x{file.shape[0]} pixels, but the map's camera of {image.name!r} has "
        f"{shape[1]}x{shape[0]}",
        "the photos must be those that the map was made of, at their full size; see --images DIR",
    )


def _turned_image(image: MapImage, turns: int) -> MapImage:
    if turns % 4 == 0:
        return image
    camera, cam2world, load = image.camera, image.cam2world, image.load_points
    if load is not None and camera is None:
        raise InputError(f"{image.name!r} is turned by its EXIF orientation and has no camera")
    shape = (0, 0) if camera is None else camera.shape
    back = np.linalg.matrix_power(_TURN.T, turns % 4)
    return dataclasses.replace(
        image,
        camera=None if camera is None else turned(camera, turns),
        cam2world=None if cam2world is None else cam2world @ back,
        load_points=None if load is None else partial(_load_turned, load, turns, shape),
    )


def _load_turned(load: Callable[[], ImagePoints], turns: int, shape: tuple[int, int]) -> ImagePoints:
    return turn_points(load(), turns, shape)


def turn_points(points: ImagePoints, quarter_turns: int, shape: tuple[int, int]) -> ImagePoints:
    """The points of a photo as the turned photo sees them; their 3D stays.

    Args:
        points: in the photo's pixels.
        quarter_turns: counter-clockwise; negative ones are clockwise.
        shape: (height, width) of the photo before it is turned.
    """
    for _ in range(quarter_turns % 4):
        points = _turned_sparse(points, shape) if isinstance(points, SparsePoints) else _turned_dense(points)
        shape = shape[::-1]
    return points


def _turned_sparse(points: SparsePoints, shape: tuple[int, int]) -> SparsePoints:
    xy: Float[np.ndarray, "n 2"] = np.stack([points.xy[:, 1], shape[1] - 1 - points.xy[:, 0]], axis=1)
    return dataclasses.replace(points, xy=xy)


def _turned_dense(points: DensePoints) -> DensePoints:
    transform = points.transform
    (scale_x, _, offset_x), (_, scale_y, offset_y) = transform.network_from_original[:2].tolist()
    width, grid_width = transform.original_shape[1], transform.network_shape[1]
    moved = grid_width - 1 - offset_x - scale_x * (width - 1)
    matrix = np.array([[scale_y, 0, offset_y], [0, scale_x, moved], [0, 0, 1]])
    return DensePoints(
        np.rot90(points.grid),
        ImageTransform(transform.original_shape[::-1], transform.network_shape[::-1], matrix),
        None if points.confidence is None else np.rot90(points.confidence),
    )
