"""The views that upstream's scripts work on, with its roundings and shifts, to the number (spec 50 A3, A4).

Only parity mode uses them. The datasets themselves hold exact data (see `mast3r_visloc.datasets`): what
upstream does to those data happens here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from PIL import Image
from torch import Tensor

from mast3r_model import ImageTransform, InputError
from mast3r_visloc.cameras import Camera, PhotoCameraError
from mast3r_visloc.datasets.contract import LocalizationDataset, Query
from mast3r_visloc.formats import open_raw_photo
from mast3r_visloc.maps import DensePoints, ImagePoints, MapImage, SparsePoints
from mast3r_visloc.reference.resizing import (
    RescaledPoints,
    ResizePlan,
    network_tensor,
    rescale_grid3d,
    rescale_points3d,
    resize_plan,
    scatter_points3d,
)

__all__ = [
    "ReferenceView",
    "RescaledPoints",
    "ResizePlan",
    "iterate_reference_views",
    "reference_views",
    "rescale_grid3d",
    "rescale_points3d",
    "resize_plan",
]

Distortion = list[float] | Float32[np.ndarray, "4"]

_COEFFICIENTS = {
    "SIMPLE_PINHOLE": slice(3, 3),
    "PINHOLE": slice(4, 4),
    "SIMPLE_RADIAL": slice(3, 4),
    "RADIAL": slice(3, 5),
    "OPENCV": slice(4, 8),
}
"""Where k1, k2, p1, p2 stand among COLMAP's parameters, for the models that upstream knows."""
_QUERY_MODELS = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL")


@dataclass(frozen=True, eq=False)
class ReferenceView:
    """A photo as upstream's scripts see it.

    Pixels are the photo's, an integer being a pixel's centre, unless said otherwise.

    Attributes:
        intrinsics: 3x3 float32. Those of maps that come from COLMAP are shifted by half a pixel twice, as
            upstream's are (trap 1).
        distortion: k1, k2, p1, p2: a list, or a float32 array for maps that come from COLMAP.
        cam_to_world: 4x4, float64 for maps that come from COLMAP, else float32; identity if unknown.
        rgb: the photo, in the file's own orientation.
        rgb_rescaled: (3, h, w) float32 in [-1, 1], the network's input.
        to_orig: 3x3 float64, from the network's pixels to the photo's, the corner of either image being at 0.
        idx: 0 for the query, then 1, 2... in the order of the pairs.
        image_name: label of the photo.
        pts3d: (H, W, 3) in the world's frame, NaN where unknown: float32, float64 for InLoc. This and what
            follows is None for the query.
        valid: (H, W) where `pts3d` is known.
        pts3d_rescaled: (h, w, 3) float32, the same on the network's grid.
        valid_rescaled: (h, w) where `pts3d_rescaled` is known.
    """

    intrinsics: Float32[np.ndarray, "3 3"]
    distortion: Distortion
    cam_to_world: Float[np.ndarray, "4 4"]
    rgb: Image.Image
    rgb_rescaled: Float32[Tensor, "3 h w"]
    to_orig: Float64[np.ndarray, "3 3"]
    idx: int
    image_name: str
    pts3d: Float[np.ndarray, "H W 3"] | None = None
    valid: Bool[np.ndarray, "H W"] | None = None
    pts3d_rescaled: Float32[np.ndarray, "h w 3"] | None = None
    valid_rescaled: Bool[np.ndarray, "h w"] | None = None


def reference_views(dataset: LocalizationDataset, query_index: int, maxdim: int) -> list[ReferenceView]:
    """The query's view, then those of its map images, best first (spec 50 A2).

    Args:
        dataset: exact data; what upstream does to them is done here.
        query_index: number of the query in `dataset.queries`.
        maxdim: longest side of the network's input, 512 or 224.

    Raises:
        InputError: the query has no pairs, a camera that upstream does not know, a map image without 3D, or a
            photo that cannot be read.
    """
    return list(iterate_reference_views(dataset, query_index, maxdim))


def iterate_reference_views(
    dataset: LocalizationDataset, query_index: int, maxdim: int
) -> Iterator[ReferenceView]:
    """As `reference_views`, one after the other: a view of a large scan takes tens of megabytes."""
    query = dataset.queries[query_index]
    index_of = dataset.map.index_of
    images = [dataset.map.images[index_of[found.name]] for found in dataset.candidates(query_index)]
    points = _points(images[0]) if images else None
    yield _query_view(query, maxdim, size_from_camera=isinstance(points, SparsePoints))
    for number, image in enumerate(images, start=1):
        points = points if number == 1 and points is not None else _points(image)
        yield _map_view(image, points, number, maxdim)


def _query_view(query: Query, maxdim: int, *, size_from_camera: bool) -> ReferenceView:
    """In COLMAP's sets the camera says how large the photo is, in the others the photo itself does."""
    camera = _known_camera(query.camera, query.name, _QUERY_MODELS)
    photo = open_raw_photo(query.path)
    if size_from_camera and camera.shape != (photo.height, photo.width):
        raise PhotoCameraError(
            f"the camera of {query.name} is for {camera.width}x{camera.height} pixels, its photo has "
            f"{photo.width}x{photo.height}"
        )
    plan = resize_plan((photo.height, photo.width), maxdim)
    return ReferenceView(
        intrinsics=camera.intrinsics.astype(np.float32),
        distortion=_distortion(camera),
        cam_to_world=_pose(query.cam2world).astype(np.float32),
        rgb=photo,
        rgb_rescaled=network_tensor(photo, plan),
        to_orig=plan.to_orig,
        idx=0,
        image_name=query.name,
    )


def _map_view(image: MapImage, points: ImagePoints, number: int, maxdim: int) -> ReferenceView:
    from_colmap = isinstance(points, SparsePoints)
    camera = _known_camera(image.camera, image.name, tuple(_COEFFICIENTS))
    photo = open_raw_photo(image.path)
    plan = resize_plan((photo.height, photo.width), maxdim)
    if isinstance(points, SparsePoints):
        xy, xyz = points.xy.astype(np.float32), points.xyz.astype(np.float32)
        grid: Float[np.ndarray, "H W 3"] = scatter_points3d(xy, xyz, (photo.height, photo.width))
        rescaled = rescale_points3d(xy, xyz, plan.to_rescaled, plan.shape)
    else:
        grid = _grid_of_photo(points, image.name, (photo.height, photo.width))
        rescaled = rescale_grid3d(grid, plan.to_rescaled, plan.shape)
    pose = _pose(image.cam2world)
    return ReferenceView(
        # Upstream's reader of COLMAP files shifts to OpenCV's pixels, and its dataset does so again (trap 1).
        intrinsics=(camera.shifted(-0.5) if from_colmap else camera).intrinsics.astype(np.float32),
        distortion=np.array(_distortion(camera), dtype=np.float32) if from_colmap else _distortion(camera),
        cam_to_world=pose if from_colmap else pose.astype(np.float32),
        rgb=photo,
        rgb_rescaled=network_tensor(photo, plan),
        to_orig=plan.to_orig,
        idx=number,
        image_name=image.name,
        pts3d=grid,
        valid=np.isfinite(grid).all(axis=-1),
        pts3d_rescaled=rescaled.pts3d,
        valid_rescaled=rescaled.valid,
    )


def _points(image: MapImage) -> ImagePoints:
    if image.load_points is None:
        raise InputError(f"the map image {image.name} has no 3D points", "evaluate without --parity")
    return image.load_points()


def _known_camera(camera: Camera | None, name: str, models: Sequence[str]) -> Camera:
    if camera is None or camera.model not in models:
        given = "no camera" if camera is None else f"a camera of the model {camera.model}"
        raise InputError(
            f"{name} has {given}; the reference pipeline knows {', '.join(models)}",
            "evaluate without --parity",
        )
    return camera


def _distortion(camera: Camera) -> list[float]:
    given = camera.params[_COEFFICIENTS[camera.model]]
    return [*given, *[0] * (4 - len(given))]


def _pose(cam2world: Float[np.ndarray, "4 4"] | None) -> Float64[np.ndarray, "4 4"]:
    """Upstream takes an unknown pose for the identity (trap 16)."""
    return np.eye(4) if cam2world is None else cam2world.astype(np.float64)


def _grid_of_photo(points: DensePoints, name: str, shape: tuple[int, int]) -> Float[np.ndarray, "H W 3"]:
    if points.grid.shape[:2] != shape or points.transform != ImageTransform.identity(shape):
        raise InputError(
            f"the 3D points of {name} are on a grid of {points.grid.shape[:2]} (height, width), its photo "
            f"has {shape}",
            "evaluate without --parity",
        )
    return points.grid
