"""Cameras alone, as JSON that explains itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from .files import component_files

if TYPE_CHECKING:
    from mast3r_sfm.scene import Scene

SCHEMA = "mast3r.cameras/1"
CONVENTIONS = {
    "pixels": "(x, y) of the upright photo, (0, 0) at the centre of the top left pixel",
    "intrinsics": "3x3, in those pixels, no lens distortion",
    "cam2world": "4x4, from the camera's axes (x right, y down, z forward) to the world",
    "units": "metres, as far as the network's are",
}


def write_camera_list(scene: Scene, folder: Path) -> list[Path]:
    """Write ``cameras.json`` (further groups of images: ``cameras_1.json``, ...).

    Name, size, intrinsics and pose of every image, and what the numbers mean.
    """
    written = []
    for component, path in component_files(scene, folder / "cameras.json"):
        cameras = [
            {
                "name": image.name,
                "width": image.original_shape[1],
                "height": image.original_shape[0],
                "intrinsics": image.intrinsics.tolist(),
                "cam2world": image.cam2world.tolist(),
            }
            for image in component.images
        ]
        document = {"schema": SCHEMA, "conventions": CONVENTIONS, "cameras": cameras}
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        written.append(path)
    return written
