"""The file that the page's 3D view loads (spec 60 D9)."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_model import InputError, NothingFoundError, registry
from mast3r_sfm import viewing_frame

from .shown import ViewSettings, shown_scene
from .viewer_colours import for_model3d

if TYPE_CHECKING:
    from mast3r_demo.limits import Limits
    from mast3r_demo.reconstruction import Reconstruction
    from mast3r_sfm import Scene

GLB_NAME = "scene.glb"
ATTEMPTS = 4
MARGIN = 0.9
"""Of the bytes allowed, this share is aimed at: pictures and headers do not shrink with the points."""
LEAST_POINTS = 1000


def write_view_glb(result: Reconstruction, view: ViewSettings, path: Path, limits: Limits) -> None:
    """Write what the controls ask for as a GLB that viewers open at the right place.

    Of photos in several unconnected groups the largest group is shown, or that of `ViewSettings.only_photo`.
    The axes are those of `viewing_frame` for the whole group, so that they stay while sliders move; see
    `first_camera`. Colours are those that gradio's viewer shows right; there is no metadata of the photos.

    Args:
        result: with the scene.
        view: the page's controls.
        path: to be written, or replaced.
        limits: ``max_glb_bytes``: above it, fewer points are shown.

    Raises:
        InputError: see `ViewSettings.filters`; or even few points take too many bytes.
        NothingFoundError: there is nothing to draw.
        OutputError: the file cannot be written.
    """
    write_scene_glb(result.scene, view, path, limits)


def write_scene_glb(scene: Scene, view: ViewSettings, path: Path, limits: Limits) -> None:
    """Write a scene that needs not be of a run; all else as `write_view_glb`."""
    shown = group_of_view(shown_scene(scene, view), view)
    frame = viewing_frame(group_of_view(scene, view))
    write_glb(shown, path, frame=frame, max_points=view.max_points, max_bytes=limits.max_glb_bytes)


def group_of_view(scene: Scene, view: ViewSettings) -> Scene:
    """The group of connected photos that the page shows.

    Raises:
        NothingFoundError: the scene has no photo.
    """
    if not scene.images:
        raise NothingFoundError("there is nothing to show: no photo could be placed")
    wanted = 0 if view.only_photo is None else scene.images[view.only_photo].component
    return next(group for group in scene.components() if group.images[0].component == wanted)


def write_glb(shown: Scene, path: Path, *, frame: object, max_points: int, max_bytes: int) -> None:
    """Write one group of photos, with as many points as the bytes allow; errors as `write_view_glb`."""
    exporter = registry("exporters")["glb"]
    assert callable(exporter)
    points = max_points
    with tempfile.TemporaryDirectory(prefix=".view-", dir=path.parent) as folder:
        made = Path(folder) / GLB_NAME
        for _ in range(ATTEMPTS):
            made.unlink(missing_ok=True)
            shown.export(folder, [partial(exporter, frame=frame, max_points=points, adjust=for_model3d)])
            if not made.is_file():
                raise NothingFoundError(
                    "there is nothing to draw: every point is hidden", "hide fewer of them, or show cameras"
                )
            size = made.stat().st_size
            if size <= max_bytes:
                os.replace(made, path)
                return
            points = int(min(points, len(shown.points)) * max_bytes / size * MARGIN)
            if points < LEAST_POINTS:
                break
    raise InputError(
        f"the 3D view of {len(shown.images)} photos takes {size / 1e6:.0f} MB, "
        f"at most {max_bytes / 1e6:.0f} MB are sent to the browser",
        "switch off the photos in cameras",
    )
