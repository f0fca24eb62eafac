"""`VirtualKitti`: rendered drives, prepared or as they were released (spec 41 section 12)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_model import ConfigError
from mast3r_train.errors import SampleError

from .cameras import Camera, camera_of_npz
from .files import read_depth_png
from .posed_frames import Depth, PosedFolder, PosedPairs, marked_depth, stems

SKY_FROM = 655.0
"""Metres; the sky is stored as 65535 cm."""

TEST_SCENE = "Scene20"
CAMERAS = ("Camera_0", "Camera_1")
CENTER_TOLERANCE = 0.5
"""Pixels by which a principal point may miss the image's centre."""


@lru_cache(maxsize=64)
def read_raw_cameras(folder: Path) -> dict[str, Camera]:
    """Cameras of a variation of a scene as released: ``Camera_0/00000`` -> intrinsics, cam2world.

    Args:
        folder: with ``intrinsic.txt`` and ``extrinsic.txt``.

    Raises:
        SampleError: a file is missing or broken.
    """
    intrinsics = _rows(folder / "intrinsic.txt", 4)
    poses = _rows(folder / "extrinsic.txt", 16)
    cameras = {}
    for name, (fx, fy, cx, cy) in intrinsics.items():
        if name in poses:
            K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
            cameras[name] = K, np.linalg.inv(np.array(poses[name]).reshape(4, 4))
    return cameras


def _rows(path: Path, count: int) -> dict[str, list[float]]:
    """Lines of a header, then a frame's number, a camera's, and numbers."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise SampleError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SampleError(f"{path} is no text file that can be read: {error}") from error
    rows = {}
    for number, line in enumerate(lines[1:], start=2):
        parts = line.split()
        try:
            if len(parts) != count + 2:
                raise ValueError
            name = f"Camera_{int(parts[1])}/{int(parts[0]):05d}"
            rows[name] = [float(part) for part in parts[2:]]
        except ValueError as error:
            raise SampleError(f"{path}, line {number}: expected frame, camera and {count} numbers") from error
    return rows


class VirtualKittiFolder(PosedFolder):
    """``<Scene>/<variation>`` is a scene; a frame is called ``Camera_0/00000``, prepared or released."""

    is_rig = True
    strides = (1, 2, 3, 4, 5)  # cars move
    random_partners = 0

    def scenes(self) -> list[str]:
        found = {
            path.relative_to(self.root).parts[:2]
            for pattern in ("Scene*/*/Camera_?", "Scene*/*/frames/rgb/Camera_?")
            for path in self.root.glob(pattern)
        }
        return sorted("/".join(parts) for parts in found)

    def frames(self, scene: str) -> list[str]:
        if not self.is_released(scene):
            folder = self.root / scene
            return [name for one in CAMERAS for name in stems(folder / one, "_cam.npz", before=f"{one}/")]
        rgb = self.root / scene / "frames" / "rgb"
        names = [(one, name) for one in CAMERAS for name in stems(rgb / one, ".jpg")]
        return [f"{one}/{name.removeprefix('rgb_')}" for one, name in names]

    def files(self, scene: str, frame: str) -> tuple[Path, Path, Path]:
        folder = self.root / scene
        if not self.is_released(scene):
            return folder / f"{frame}_rgb.jpg", folder / f"{frame}_depth.png", folder / f"{frame}_cam.npz"
        camera, _, number = frame.partition("/")
        return (
            folder / "frames" / "rgb" / camera / f"rgb_{number}.jpg",
            folder / "frames" / "depth" / camera / f"depth_{number}.png",
            folder / "extrinsic.txt",
        )

    def depth(self, scene: str, frame: str) -> Depth:
        return marked_depth(read_depth_png(self.files(scene, frame)[1]) / 100, sky_from=SKY_FROM)

    def camera(self, scene: str, frame: str) -> Camera:
        if not self.is_released(scene):
            return camera_of_npz(self.files(scene, frame)[2], "camera_intrinsics", "camera_pose")
        cameras = read_raw_cameras(self.root / scene)
        if frame not in cameras:
            raise SampleError(f"{self.root / scene}: intrinsic.txt and extrinsic.txt do not have {frame}")
        return cameras[frame]

    def is_released(self, scene: str) -> bool:
        """Whether the scene's files are those of the release, not prepared ones."""
        return (self.root / scene / "frames").is_dir()


class VirtualKitti(PosedPairs):
    """Pairs of frames of a drive, close in time, and of both cameras; metric; there is sky; cars move.

    Files: ``<Scene>/<variation>/<Camera_i>/<00000>_rgb.jpg``, ``_depth.png`` (uint16 cm, 65535 sky),
    ``_cam.npz`` (``camera_pose`` cam2world, ``camera_intrinsics``), or those of the release; and
    ``virtualkitti_pairs.npz``.

    Args:
        optical_center_is_centered: the principal point is the image's centre, exactly; False keeps the
            stored one.
        split: ``'train'`` (all but Scene20), ``'test'`` (Scene20), or None for all.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split.
        InputError: the folder has no pair file.
    """

    is_metric_scale = True
    default_folder = "virtualkitti_processed"
    folder_type = VirtualKittiFolder
    pairs_file = "virtualkitti_pairs.npz"

    def __init__(
        self, *, optical_center_is_centered: bool = True, split: str | None = None, **options: Any
    ) -> None:
        if split not in (None, "train", "test"):
            raise ConfigError(f"VirtualKitti has split='train', 'test' and None, got {split!r}")
        if not isinstance(optical_center_is_centered, bool):
            raise ConfigError(
                f"optical_center_is_centered is True or False, got {optical_center_is_centered!r}"
            )
        self.optical_center_is_centered = optical_center_is_centered
        super().__init__(split=split, **options)

    def _keeps(self, scene: str) -> bool:
        is_test = scene.partition("/")[0] == TEST_SCENE
        return self.split is None or is_test == (self.split == "test")

    def _camera(self, scene: str, frame: str, size_wh: tuple[int, int]) -> Camera:
        intrinsics, cam2world = super()._camera(scene, frame, size_wh)
        if not self.optical_center_is_centered:
            return intrinsics, cam2world
        center = (np.array(size_wh) - 1) / 2
        if np.abs(intrinsics[:2, 2] - center).max() > CENTER_TOLERANCE:
            raise SampleError(
                f"{self.folder.files(scene, frame)[2]}: the principal point {intrinsics[:2, 2].tolist()} of "
                f"{frame} is not the centre {center.tolist()} of the image; "
                "optical_center_is_centered=False takes it as it is"
            )
        intrinsics = intrinsics.copy()
        intrinsics[:2, 2] = center
        return intrinsics, cam2world
