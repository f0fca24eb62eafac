"""Random crops of two views that see much of the same (spec 40 section 4, step 5)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from mast3r_train.geometry import (
    PointView,
    VirtualCamera,
    choose_orientation,
    crop_homography,
    look_through,
    random_crops,
    reciprocal_pixels,
    warp_image,
)
from mast3r_train.geometry.orientation import View
from mast3r_train.geometry.rescaling import Size


def crop_amount(image_wh: Size, resolution: Size, aug_crop: int | Literal["auto"]) -> float:
    """By how many pixels of its short side the image may be cropped."""
    if aug_crop != "auto":
        return aug_crop
    side, wanted = min(image_wh), min(resolution)
    return max(0.1 * side, side * (side - wanted) // wanted)


def crop_where_views_overlap(
    views: list[View],
    point_views: list[PointView],
    resolution: Size,
    rng: np.random.Generator,
    *,
    aug_crop: int | Literal["auto"],
    tentative_crops: int,
    random_if_square: bool,
) -> None:
    """Crop both views, in place, by those of some random crops that have most correspondences in both.

    The new images are what virtual cameras see that look at the crops; points are left for the caller.

    Args:
        views: two views with image, depth, intrinsics and pose.
        point_views: their points.
        resolution: (width, height), landscape.
        rng: for each view: the orientation of a nearly square image, then `random_crops`.
        aug_crop: pixels, or ``auto``.
        tentative_crops: how many per view.
        random_if_square: see `choose_orientation`.
    """
    # Unknown and sky pixels take part, as upstream's do: this only chooses among crops.
    pairs = reciprocal_pixels(*point_views, require_valid=False)
    boxes, sizes, inside = [], [], []
    for view, pixels in zip(views, pairs.coordinates(), strict=True):
        image_wh = view["img"].size
        size = choose_orientation(image_wh, resolution, rng, random_if_square=random_if_square)
        amount = crop_amount(image_wh, resolution, aug_crop)
        own = random_crops(image_wh, tentative_crops, size, amount, rng)
        boxes.append(own)
        sizes.append(size)
        inside.append(_inside(pixels, own))
    shared = np.array([[np.count_nonzero(a & b) for b in inside[1]] for a in inside[0]])
    chosen = np.unravel_index(int(shared.argmax()), shared.shape)
    for view, own, number, size in zip(views, boxes, chosen, sizes, strict=True):
        _look_at(view, own[number], size)


def _inside(
    pixels: Int[np.ndarray, "n 2"], boxes: Float[np.ndarray, "crops 4"]
) -> Bool[np.ndarray, "crops n"]:
    x, y = np.ascontiguousarray(pixels.T)
    return np.array(
        [(x >= left) & (x < right) & (y >= top) & (y < bottom) for left, top, right, bottom in boxes.tolist()]
    )


def _look_at(view: View, box: np.ndarray, size: Size) -> None:
    camera = crop_homography(view["camera_intrinsics"], box, size)
    if "track_labels" in view:
        view["track_labels"] = _warp_labels(view["track_labels"], camera)
    view["img"], view["depthmap"] = look_through(
        camera, view["img"], view["depthmap"], view["camera_intrinsics"]
    )
    view["camera_intrinsics"] = camera.intrinsics.astype(np.float32)
    pose = view["camera_pose"].copy()
    pose[:3, :3] = pose[:3, :3] @ camera.rotation
    view["camera_pose"] = pose


def _warp_labels(labels: np.ndarray, camera: VirtualCamera) -> np.ndarray:
    """Nearest labels, 0 outside. Pillow warps no 64-bit numbers: their places in a table are warped."""
    known, places = np.unique(labels, return_inverse=True)
    image = Image.fromarray((places.reshape(labels.shape) + 1).astype(np.int32))
    warped = np.array(warp_image(camera, image, Image.Resampling.NEAREST))
    return np.concatenate([np.zeros(1, known.dtype), known])[warped]
