"""Views of a result as files that the browser may fetch."""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_model import Mast3rError

from .limits import Limits
from .reconstruction import Reconstruction
from .visits import Visit

if TYPE_CHECKING:
    import numpy as np

    from .views import ViewSettings


def write_view(visit: Visit, result: Reconstruction, view: ViewSettings, limits: Limits) -> Path:
    """The scene as a GLB.

    Args:
        visit: whose.
        result: what is shown.
        view: how.
        limits: of its size.

    Raises:
        OutputError: it cannot be written.
    """
    from .views import write_view_glb

    name = f"view_{secrets.token_hex(4)}.glb"
    with visit.session.new_export(name) as temporary:
        write_view_glb(result, view, temporary, limits)
    return visit.publish(visit.session.exports / name, "view")


def write_partial_view(visit: Visit, partial: object) -> Path | None:
    """Cameras and sparse points, while the rest is computed; None where there is nothing to show yet."""
    from mast3r_sfm import PointCloud, Scene

    if not isinstance(partial, Scene) or not partial.images:
        return None
    if not len(partial.points):
        import numpy as np

        tracks = partial.tracks
        sparse = PointCloud(tracks.positions, tracks.colors, np.ones(len(tracks), np.float32))
        partial = replace(partial, points=sparse)
    with tempfile.TemporaryDirectory(dir=visit.session.folder) as folder:
        try:
            (written, *_) = partial.export(folder, ["glb"])
        except Mast3rError:
            return None
        return visit.publish(written, "partial")


def save_picture(visit: Visit, kind: str, pixels: np.ndarray) -> Path:
    """A picture for the browser.

    Args:
        visit: whose.
        kind: such as ``depth``; of each the last few stay.
        pixels: (h, w, 3) uint8.
    """
    from PIL import Image

    path = visit.picture_path(kind)
    Image.fromarray(pixels).save(path, compress_level=1)
    return path
