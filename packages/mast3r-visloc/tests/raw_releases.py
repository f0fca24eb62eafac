"""Tiny releases in the layouts of the four benchmarks, drawn here: cameras that look at one slanted wall."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_visloc.preparing.depth_registration import COLOUR_FROM_DEPTH, DEPTH_CAMERA, SHAPE

NORMAL = np.array([0.3, -0.2, -0.93]) / np.linalg.norm([0.3, -0.2, -0.93])
OFFSET = -2.5
"""The wall: points with NORMAL @ X = OFFSET, metres."""


def off_the_wall(points: np.ndarray) -> np.ndarray:
    """Signed distance of points from the wall, metres."""
    return points @ NORMAL - OFFSET


def pose(seed: int) -> np.ndarray:
    """A cam2world that looks at the wall."""
    random = np.random.default_rng(seed)
    cam2world = np.eye(4)
    cam2world[:3, :3] = Rotation.from_rotvec(random.uniform(-0.15, 0.15, 3)).as_matrix()
    cam2world[:3, 3] = random.uniform(-0.3, 0.3, 3)
    return cam2world


def wall_points(rays: np.ndarray, cam2world: np.ndarray) -> np.ndarray:
    """Where rays (..., 3) of a camera meet the wall, in the camera's frame."""
    directions = rays @ cam2world[:3, :3].T
    distance = (OFFSET - NORMAL @ cam2world[:3, 3]) / (directions @ NORMAL)
    return rays * distance[..., None]


def pixel_rays(shape: tuple[int, int], focal: float, centre: tuple[float, float]) -> np.ndarray:
    """(h, w, 3) rays with z = 1 of a camera, an integer being a pixel's centre."""
    y, x = np.indices(shape)
    return np.stack([(x - centre[0]) / focal, (y - centre[1]) / focal, np.ones(shape)], axis=-1)


def save_photo(path: Path, size_wh: tuple[int, int], seed: int) -> None:
    """A photo of smooth noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size_wh, Image.Resampling.BICUBIC).save(path, compress_level=1)


def make_seven_scenes(raw: Path, scene: str = "chess") -> dict[str, np.ndarray]:
    """A scene of 7-Scenes: the query seq-01 as a folder, the map seq-02 as a zip. Returns depth cam2world."""
    folder = raw / scene
    folder.mkdir(parents=True)
    (folder / "TrainSplit.txt").write_text("sequence2\n")
    (folder / "TestSplit.txt").write_text("sequence1\n")
    truth = {}
    for number, sequence in enumerate(("seq-01", "seq-02")):
        for frame in range(2):
            stem = folder / sequence / f"frame-{frame:06d}"
            truth[f"{sequence}/{stem.name}"] = cam2world = pose(10 * number + frame)
            save_photo(stem.with_name(f"{stem.name}.color.png"), (SHAPE[1], SHAPE[0]), frame)
            save_depth(stem.with_name(f"{stem.name}.depth.png"), kinect_depth(cam2world))
            np.savetxt(stem.with_name(f"{stem.name}.pose.txt"), cam2world, delimiter="\t")
    with zipfile.ZipFile(folder / "seq-02.zip", "w") as archive:
        for path in sorted((folder / "seq-02").iterdir()):
            archive.write(path, f"seq-02/{path.name}")
            path.unlink()
    (folder / "seq-02").rmdir()
    return truth


def kinect_depth(cam2world: np.ndarray) -> np.ndarray:
    """The wall in millimetres as a Kinect's depth camera sees it, with holes of both kinds."""
    rays = pixel_rays(SHAPE, DEPTH_CAMERA.fx, (DEPTH_CAMERA.cx, DEPTH_CAMERA.cy))
    millimetres = np.rint(wall_points(rays, cam2world)[..., 2] * 1000).astype(np.uint16)
    millimetres[100:120, 200:230] = 0
    millimetres[300:310, 400:420] = 65535
    return millimetres


def save_depth(path: Path, millimetres: np.ndarray) -> None:
    """A PNG of 16 bits."""
    Image.fromarray(millimetres).save(path, compress_level=1)


def colour_pose(depth_pose: np.ndarray) -> np.ndarray:
    """cam2world of the Kinect's colour camera."""
    return depth_pose @ np.linalg.inv(COLOUR_FROM_DEPTH)


@dataclass(frozen=True)
class CambridgeTruth:
    """What `make_cambridge` drew.

    Attributes:
        points: (n, 3) on the wall.
        cam2world: by name without suffix.
        focal: in pixels.
        distortion: r of VisualSFM.
        train: names of the map's photos.
        test: names of the queries.
    """

    points: np.ndarray
    cam2world: dict[str, np.ndarray]
    focal: float
    distortion: float
    train: tuple[str, ...] = ("seq1/frame00001.png", "seq1/frame00002.png", "seq3/frame00001.png")
    test: tuple[str, ...] = ("seq2/frame00001.png", "seq2/frame00002.png")

    def pixels(self, name: str) -> np.ndarray:
        """Where the points are in a photo, from its middle: VisualSFM's distortion, solved exactly."""
        world2cam = np.linalg.inv(self.cam2world[name.removesuffix(".png")])
        seen = self.points @ world2cam[:3, :3].T + world2cam[:3, 3]
        plane = seen[:, :2] / seen[:, 2:]
        distorted = plane.copy()
        for _ in range(50):
            distorted = plane / (1 + self.distortion * (distorted**2).sum(1, keepdims=True))
        return self.focal * distorted


SIZE_WH = 320, 180


def make_cambridge(raw: Path, scene: str = "ShopFacade") -> CambridgeTruth:
    """A scene of Cambridge Landmarks with a true reconstruction.nvm."""
    random = np.random.default_rng(5)
    rays = np.concatenate([random.uniform([-0.35, -0.2], [0.35, 0.2], (80, 2)), np.ones((80, 1))], axis=1)
    points = wall_points(rays, np.eye(4))
    names = (*CambridgeTruth.train, *CambridgeTruth.test)
    poses = {name.removesuffix(".png"): pose(30 + number) for number, name in enumerate(names)}
    truth = CambridgeTruth(points, poses, 300.0, 0.05)
    for number, name in enumerate(names):
        save_photo(raw / scene / name, SIZE_WH, number)
    (raw / scene / "reconstruction.nvm").write_text("\n".join(_nvm_lines(truth, names)) + "\n")
    for file, members in (("dataset_train.txt", truth.train), ("dataset_test.txt", truth.test)):
        lines = ["Visual Landmark Dataset V1", "ImageFile, Camera Position [X Y Z W P Q R]", ""]
        lines += [
            " ".join([name, *(repr(float(v)) for v in _centre_and_rotation(truth, name))]) for name in members
        ]
        (raw / scene / file).write_text("\n".join(lines) + "\n")
    return truth


def _centre_and_rotation(truth: CambridgeTruth, name: str) -> list[float]:
    cam2world = truth.cam2world[name.removesuffix(".png")]
    x, y, z, w = Rotation.from_matrix(cam2world[:3, :3].T).as_quat()
    return [*cam2world[:3, 3], w, x, y, z]


def _nvm_lines(truth: CambridgeTruth, names: tuple[str, ...]) -> list[str]:
    lines = ["NVM_V3 ", "", str(len(names))]
    for name in names:
        *centre, w, x, y, z = _centre_and_rotation(truth, name)
        numbers = [truth.focal, w, x, y, z, *centre, truth.distortion]
        jpeg = name.replace(".png", ".jpg")
        lines.append(f"{jpeg}\t" + " ".join(repr(float(value)) for value in numbers) + " 0 ")
    pixels = [truth.pixels(name) for name in names]
    lines += ["", str(len(truth.points))]
    for index, point in enumerate(truth.points):
        seen = [
            f"{camera} {index} {float(xy[index, 0])!r} {float(xy[index, 1])!r}"
            for camera, xy in enumerate(pixels)
            if (np.abs(xy[index]) < np.array(SIZE_WH) / 2).all()
        ]
        lines.append(" ".join([*(repr(float(v)) for v in point), "10 20 30", str(len(seen)), *seen]))
    return [*lines, "", "0", "", "0"]


CUTOUT_SHAPE = 120, 160
CUTOUT_FOCAL = 150.0
CUTOUTS = {"DUC1": ("000", "001"), "DUC2": ("013",)}


@dataclass(frozen=True)
class InLocTruth:
    """What `make_inloc` drew: cam2world of every cutout by name."""

    cam2world: dict[str, np.ndarray]


def make_inloc(raw: Path) -> InLocTruth:
    """InLoc: DUC1 with one file of alignments, DUC2 with one for each scan."""
    poses = {}
    scan_poses = {"000": pose(50), "001": pose(51), "013": pose(52)}
    for building, scans in CUTOUTS.items():
        for scan in scans:
            for yaw in (0, 30):
                name = f"{building}/{scan}/DUC_cutout_{scan}_{yaw}_0.png"
                poses[name] = cam2world = pose(60 + yaw + int(scan))
                _save_cutout(raw / "database" / "cutouts" / name, cam2world, scan_poses[scan], yaw)
    alignments = raw / "database" / "alignments"
    (alignments / "DUC1_alignment").mkdir(parents=True)
    blocks = [f"{scan}\n{_alignment(scan_poses[scan])}\n" for scan in CUTOUTS["DUC1"]]
    (alignments / "DUC1_alignment" / "all_transformations.txt").write_text("\n".join(blocks))
    (alignments / "DUC2" / "transformations").mkdir(parents=True)
    single = alignments / "DUC2" / "transformations" / "DUC_trans_013.txt"
    single.write_text(f"DUC_scan_013.ptx.mat\n{_alignment(scan_poses['013'])}\n")
    (raw / "query" / "iphone7").mkdir(parents=True)
    for name, size_wh in (("IMG_0731.JPG", (144, 108)), ("IMG_0732.JPG", (108, 144))):
        Image.new("RGB", size_wh, (90, 120, 30)).save(raw / "query" / "iphone7" / name)
    return InLocTruth(poses)


def _save_cutout(path: Path, cam2world: np.ndarray, world_from_scan: np.ndarray, seed: int) -> None:
    save_photo(path, (CUTOUT_SHAPE[1], CUTOUT_SHAPE[0]), seed)
    rays = pixel_rays(CUTOUT_SHAPE, CUTOUT_FOCAL, (CUTOUT_SHAPE[1] / 2, CUTOUT_SHAPE[0] / 2))
    scan_from_cam = np.linalg.inv(world_from_scan) @ cam2world
    points = wall_points(rays, cam2world) @ scan_from_cam[:3, :3].T + scan_from_cam[:3, 3]
    points[:10, :20] = np.nan
    scipy.io.savemat(path.with_name(f"{path.name}.mat"), {"XYZcut": points}, appendmat=False)


def _alignment(world_from_scan: np.ndarray) -> str:
    def rows(matrix: np.ndarray) -> list[str]:
        return ["  ".join(f"{value: .16e}" for value in row) for row in matrix]

    wrong = world_from_scan @ np.diag([1.0, 1.0, 1.0, 1.1])
    return "\n".join(["Before general icp:", *rows(wrong), "After general icp:", *rows(world_from_scan)])
