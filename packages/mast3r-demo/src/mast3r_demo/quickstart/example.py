"""The shipped scene: photos that we rendered, with their true cameras and depth.

``packages/mast3r-demo/tools/render_still_life.py`` makes the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from mast3r_model import InputError
from mast3r_sfm import PosedCameras, read_cameras

FOLDER = Path(__file__).parent / "still_life"
CAMERAS_FILE = "transforms.json"
DEPTH_FILE = "depth.npz"
SAME_SURFACE = 0.03
"""Depth samples around a place belong to one surface if they differ by less than this part."""


@dataclass(frozen=True, eq=False)
class Example:
    """Photos and what is true about them.

    Attributes:
        photos: files, in the order in which somebody walked by.
        cameras: the true ones, in the photos' order; metres.
        depth: (n, rows, columns) true z in metres of every `step`-th pixel, starting with the first.
        step: pixels between two samples of depth, along both axes.
    """

    photos: tuple[Path, ...]
    cameras: PosedCameras
    depth: Float[np.ndarray, "n rows columns"]
    step: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every photo."""
        return self.cameras.shapes[0]

    def sampled_pixels(self) -> Float[np.ndarray, "rows columns 2"]:
        """Pixels (x, y) of the photo at which depth is known."""
        rows, columns = np.mgrid[: self.depth.shape[1], : self.depth.shape[2]]
        return self.step * np.stack([columns, rows], axis=-1).astype(np.float64)

    def depth_at(
        self, photo: int, pixels: Float[np.ndarray, "m 2"]
    ) -> tuple[Float[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
        """True depth between samples.

        Args:
            photo: its number.
            pixels: (m, 2) (x, y) of the photo.

        Returns:
            Depth in metres, and where it holds: inside of the samples, and these of one surface. What is
            interpolated is inverse depth, which along a plane is linear in pixels.
        """
        rows, columns = self.depth.shape[1:]
        place = np.asarray(pixels, np.float64) / self.step
        low = np.floor(place).astype(int)
        inside = ((low >= 0) & (low < [columns - 1, rows - 1])).all(axis=1)
        x, y = np.clip(low, 0, [columns - 2, rows - 2]).T
        known = self.depth[photo]
        corners = np.stack([known[y, x], known[y, x + 1], known[y + 1, x], known[y + 1, x + 1]])
        right, down = (place - low).T
        weights = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down])
        smooth = corners.max(axis=0) <= (1 + SAME_SURFACE) * corners.min(axis=0)
        depth = 1 / (weights / np.maximum(corners, 1e-6)).sum(axis=0)
        return depth, inside & smooth & (corners > 0).all(axis=0)


def load_example(folder: Path = FOLDER) -> Example:
    """Read the shipped scene.

    Raises:
        InputError: its files are missing or do not fit each other: the installation is broken.
    """
    try:
        cameras = read_cameras(folder / CAMERAS_FILE)
        with np.load(folder / DEPTH_FILE, allow_pickle=False) as stored:
            depth, step = stored["depth"].astype(np.float64), int(stored["step"])
    except (OSError, KeyError, ValueError, InputError) as error:
        raise InputError(f"the shipped scene cannot be read: {error}", "install mast3r-demo again") from error
    photos = tuple(folder / name for name in cameras.names)
    missing = [photo.name for photo in photos if not photo.is_file()]
    if missing or len(depth) != len(photos):
        raise InputError(
            f"the shipped scene is not whole: {len(photos)} cameras, {len(depth)} depth maps, "
            f"missing photos: {', '.join(missing) or 'none'}",
            "install mast3r-demo again",
        )
    return Example(photos, cameras, depth, step)
