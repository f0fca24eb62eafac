"""From the values of the page's controls to settings and views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mast3r_model import InputError

from .settings import ReconstructionSettings

if TYPE_CHECKING:
    from .views import ViewSettings

_NAMES = {"pairs": "graph", "same_camera": "shared_intrinsics"}
_WHOLE = ("window", "reference", "key_images", "neighbours", "coarse_iterations", "fine_iterations",
          "iterations", "image_size", "seed")  # fmt: skip
_OF_GRAPHS = ("window", "cyclic", "reference", "key_images", "neighbours")
MILLION = 1_000_000


def settings_from(
    values: Mapping[str, Any], *, retrieval: str | None, fps: float | None
) -> ReconstructionSettings:
    """Settings of a reconstruction.

    Args:
        values: of the controls in `BASIC` and `ADVANCED`, by name.
        retrieval: the server's retrieval checkpoint.
        fps: of the video; None: there is none.

    Raises:
        InputError: a value is none that the control can have.
    """
    chosen: dict[str, Any] = {_NAMES.get(name, name): value for name, value in values.items()}
    for name in _WHOLE:
        chosen[name] = _whole(name, chosen[name])
    if chosen["graph"] == "auto":
        # what an earlier choice of graph left in controls that are hidden now does not count
        chosen = {name: value for name, value in chosen.items() if name not in _OF_GRAPHS}
    return ReconstructionSettings(**chosen, retrieval=retrieval, fps=fps)


def view_from(values: Mapping[str, Any], only_photo: int | None = None) -> ViewSettings:
    """How a scene is shown.

    Args:
        values: of the controls in `VIEW`, by name.
        only_photo: number of the photo whose points are shown; None: all.

    Raises:
        InputError: a value is none that the control can have.
    """
    from .views import ViewSettings

    size = float(values["camera_size"] or 0)
    return ViewSettings(
        percentile=float(values["percentile"]),
        min_confidence=float(values["min_confidence"]) if values["absolute"] else None,
        max_points=round(float(values["max_points"]) * MILLION),
        only_photo=only_photo,
        as_mesh=values["surface"] == "mesh",
        clean_depth=bool(values["clean_depth"]),
        mask_sky=bool(values["mask_sky"]),
        drop_black=bool(values["drop_black"]),
        drop_white=bool(values["drop_white"]),
        cameras=bool(values["cameras"]),
        camera_size=size or None,
        photos_in_cameras=bool(values["photos_in_cameras"]),
        tsdf=float(values["tsdf"]),
    )


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise InputError(f"{name} is {value!r}", "expected a whole number")
    return int(value)
