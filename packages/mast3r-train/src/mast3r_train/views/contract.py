"""What a view must be: checks of the view contract (spec 40 section 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from mast3r_train.errors import SampleError
from mast3r_train.geometry.orientation import View

LOADED_KEYS = ("img", "depthmap", "camera_intrinsics", "dataset", "label", "instance")
"""What a loader's view must have."""

ARRAY_DTYPES = ("float32", "bool", "int32", "int64", "uint8")
"""Dtypes that arrays of a finished view may have."""


TRACK_LABELS = ("track_labels", "uint64")
"""A map that a loader may add: which track each pixel belongs to. It has more bits than others may have."""


def view_name(view: View) -> str:
    """How messages call a view."""
    return f"{view.get('dataset', '?')} {view.get('label', '?')} {view.get('instance', '?')}"


def check_loaded_view(view: View) -> None:
    """Check what a loader's ``_get_views`` gives.

    Raises:
        SampleError: depth or pose hold numbers that are not finite, or sizes differ.
        TypeError: the loader breaks the contract: a key is missing, or it is of another type.
    """
    if missing := [key for key in LOADED_KEYS if key not in view]:
        raise TypeError(f"the view {view_name(view)} lacks {', '.join(missing)}")
    if extra := [key for key in ("pts3d", "valid_mask") if key in view]:
        raise TypeError(f"the view {view_name(view)} must not have {', '.join(extra)}: they are computed")
    image, depth = view["img"], view["depthmap"]
    if not isinstance(image, Image.Image):
        raise TypeError(f"img of the view {view_name(view)} is {type(image).__name__}, expected a PIL image")
    if depth.shape[:2] != image.size[::-1]:
        raise SampleError(
            f"view {view_name(view)}: the image has {image.width}x{image.height} pixels, the depth "
            f"{depth.shape[1]}x{depth.shape[0]}"
        )
    if not np.isfinite(depth).all():
        raise SampleError(f"view {view_name(view)}: the depth holds numbers that are not finite")
    if not np.isfinite(view["camera_intrinsics"]).all():
        raise SampleError(f"view {view_name(view)}: the intrinsics hold numbers that are not finite")
    if "camera_pose" in view and not np.isfinite(view["camera_pose"]).all():
        raise SampleError(f"view {view_name(view)}: the pose holds numbers that are not finite")


def check_view(view: View) -> None:
    """Check the dtypes and shapes of a finished view.

    Raises:
        TypeError: an array has another dtype (cast it in the loader), or a shape that does not fit the image.
    """
    for key, value in view.items():
        dtype = _dtype_name(value)
        if dtype is not None and dtype not in ARRAY_DTYPES and (key, dtype) != TRACK_LABELS:
            raise TypeError(
                f"{key!r} of the view {view_name(view)} is {dtype}, expected one of {', '.join(ARRAY_DTYPES)}"
            )
    height, width = view["img"].shape[-2:]
    for key in ("depthmap", "pts3d", "valid_mask", "sky_mask", "track_labels"):
        if key in view and view[key].shape[:2] != (height, width):
            raise TypeError(
                f"{key!r} of the view {view_name(view)} has {view[key].shape[:2]} pixels, the image "
                f"{(height, width)}"
            )


def _dtype_name(value: Any) -> str | None:
    if isinstance(value, np.ndarray):
        return str(value.dtype)
    if isinstance(value, torch.Tensor):
        return str(value.dtype).removeprefix("torch.")
    return None
