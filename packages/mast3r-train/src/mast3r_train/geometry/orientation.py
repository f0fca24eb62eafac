"""Quarter turns and the landscape layout of views (spec 40 sections 4.8 and 4.9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

View = dict[str, Any]
"""A view of the contract of spec 40 section 2, with the arrays that it has so far."""

_MAPS = ("depthmap", "pts3d", "valid_mask", "sky_mask", "track_labels")


def rotate_quarter_turns(view: View, turns: int) -> None:
    """Turn a view counter-clockwise by so many quarter turns, in place: maps, camera and correspondences.

    The points in the world stay where they are.
    """
    turns %= 4
    if turns == 0:
        return
    for key in _MAPS:
        if key in view:
            view[key] = np.ascontiguousarray(np.rot90(view[key], turns))
    view["img"] = view["img"].rot90(turns, (-2, -1)).contiguous()
    height, width = view["depthmap"].shape[:2]
    view["true_shape"] = np.array((height, width), dtype=np.int32)
    K = view["camera_intrinsics"].copy()
    if turns % 2:
        K[0, 0], K[1, 1] = K[1, 1], K[0, 0]
    K[:2, 2] = turn_pixels(K[None, :2, 2], turns, (height, width))[0]
    view["camera_intrinsics"] = K
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", 90 * turns, degrees=True).as_matrix().round()
    view["camera_pose"] = (view["camera_pose"] @ turn).astype(np.float32)
    if "corres" in view:
        turned = turn_pixels(view["corres"], turns, (height, width))
        view["corres"] = turned.round().astype(view["corres"].dtype)


def turn_pixels(pixels: np.ndarray, turns: int, shape: tuple[int, int]) -> np.ndarray:
    """Where pixels (n, 2) are after the image was turned; `shape` (height, width) is the new one's."""
    height, width = shape
    x, y = pixels[:, 0], pixels[:, 1]
    match turns % 4:
        case 1:
            columns = (y, height - 1 - x)
        case 2:
            columns = (width - 1 - x, height - 1 - y)
        case 3:
            columns = (width - 1 - y, x)
        case _:
            columns = (x, y)
    return np.stack(columns, axis=-1)


def to_landscape(view: View) -> None:
    """Lay a portrait view on its side, in place: maps transposed, rows of the intrinsics exchanged.

    The camera's frame, the pose and ``true_shape`` stay.
    """
    height, width = view["true_shape"]
    if width >= height:
        return
    for key in _MAPS:
        if key in view:
            view[key] = np.ascontiguousarray(view[key].swapaxes(0, 1))
    view["img"] = view["img"].transpose(-2, -1).contiguous()
    view["camera_intrinsics"] = view["camera_intrinsics"][[1, 0, 2]]
    if "corres" in view:
        view["corres"] = np.ascontiguousarray(view["corres"][:, ::-1])
