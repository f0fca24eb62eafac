"""A folder with every dataset of upstream's full training command, prepared, tiny: the recorded nine and five more."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mast3r_train.datasets.pair_lists import PairList, ScenePairs

from .standin_scenes import StandinView, render_standin

FIXTURE = Path(__file__).parent / "goldens" / "train" / "datasets" / "datasets_fixture.zip"

NATURAL, ARTIFICIAL = "a" * 64, "b" * 64
"""DL3DV scenes by their light."""


def write_everything(data: Path) -> None:
    """Write ``data/<default folder>`` of all datasets, under the names that upstream's commands use."""
    with zipfile.ZipFile(FIXTURE) as archive:
        archive.extractall(data)
    # The recorded demo folder is the whole one; upstream's demo calls it a subset.
    (data / "co3d_subset_processed").symlink_to(data / "co3d_processed", target_is_directory=True)
    views = render_standin(3)
    write_tartanair(data / "tartanair_processed", views)
    write_unrealstereo4k(data / "unrealstereo4k_processed", views)
    write_virtualkitti(data / "virtualkitti_processed", views)
    write_mapfree(data / "mapfree_processed", views)
    write_dl3dv(data / "dl3dv_processed", views)


def write_pairs(path: Path, scenes: dict[str, list[str]]) -> None:
    """A pair file with both neighbouring pairs of three frames."""
    pairs = np.array([[0, 1], [1, 2]])
    parts = [ScenePairs(scene, images, pairs, np.ones(2)) for scene, images in scenes.items()]
    PairList.joined(parts).write(path)


def photo(path: Path, view: StandinView) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(view.rgb).save(path)
    return path


def write_tartanair(root: Path, views: list[StandinView]) -> None:
    scene = "office/Easy/P000"
    for number, view in enumerate(views):
        photo(root / scene / f"{number:06d}_rgb.png", view)
        np.save(root / scene / f"{number:06d}_depth.npy", view.depth)
        np.savez(root / scene / f"{number:06d}_cam.npz", camera_pose=view.cam2world, camera_intrinsics=view.K)
    write_pairs(root / "tartanair_pairs.npz", {scene: ["000000", "000001", "000002"]})


def write_unrealstereo4k(root: Path, views: list[StandinView]) -> None:
    names = ["0/00000", "1/00000", "0/00001"]
    for name, view in zip(names, views, strict=True):
        photo(root / "00001" / f"{name}_rgb.png", view)
        np.save(root / "00001" / f"{name}_depth.npy", view.depth)
        np.savez(root / "00001" / f"{name}.npz", intrinsics=view.K, cam2world=view.cam2world)
    write_pairs(root / "unrealstereo4k_pairs.npz", {"00001": names})


def write_virtualkitti(root: Path, views: list[StandinView]) -> None:
    scene, names = "Scene01/clone", ["Camera_0/00000", "Camera_0/00001", "Camera_1/00000"]
    for name, view in zip(names, views, strict=True):
        photo(root / scene / f"{name}_rgb.jpg", view)
        centimetres = np.where(view.depth > 0, view.depth * 100, 65535).astype(np.uint16)
        cv2.imwrite(str(root / scene / f"{name}_depth.png"), centimetres)
        np.savez(root / scene / f"{name}_cam.npz", camera_pose=view.cam2world, camera_intrinsics=view.K)
    write_pairs(root / "virtualkitti_pairs.npz", {scene: names})


def write_mapfree(root: Path, views: list[StandinView]) -> None:
    names = ["dense0/frame_00000", "dense0/frame_00001", "dense1/frame_00000"]
    for name, view in zip(names, views, strict=True):
        sequence, _, frame = name.partition("/")
        folder = root / "s00000" / sequence
        photo(folder / "rgb" / f"{frame}.jpg", view)
        sky = Image.fromarray(np.where(view.depth > 0, 0, 255).astype(np.uint8))
        for kind in ("depth", "cam", "sky_mask"):
            (folder / kind).mkdir(exist_ok=True)
        sky.save(folder / "sky_mask" / f"{frame}.jpg")
        np.save(folder / "depth" / f"{frame}.npy", view.depth)
        np.savez(folder / "cam" / f"{frame}.npz", intrinsic=view.K, pose=view.cam2world)
    write_pairs(root / "mapfree_pairs.npz", {"s00000": names})


def write_dl3dv(root: Path, views: list[StandinView]) -> None:
    names = [f"frame_{number:05d}" for number in range(1, 4)]
    for scene in (NATURAL, ARTIFICIAL):
        folder = root / "1K" / scene / "dense"
        for kind in ("depth", "cam", "sky_mask", "outlier_mask"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, view in zip(names, views, strict=True):
            photo(folder / "rgb" / f"{name}.png", view)
            np.save(folder / "depth" / f"{name}.npy", view.depth)
            np.savez(folder / "cam" / f"{name}.npz", intrinsic=view.K, pose=view.cam2world)
            for kind in ("sky_mask", "outlier_mask"):
                empty = np.zeros(view.depth.shape, np.uint8)
                Image.fromarray(empty).save(folder / kind / f"{name}.png")
    write_pairs(root / "dl3dv_pairs.npz", {f"1K/{scene}": names for scene in (NATURAL, ARTIFICIAL)})
    (root / "dl3dv_labels.csv").write_text(
        "hash,subset,bounded,reflection,transparency,light,place,category,device\n"
        f"{NATURAL},1K,unbd,,,nlight,,,\n{ARTIFICIAL},1K,bd,,,hlight,,,\n"
    )
