"""``mast3r data prepare arkitscenes``: from Apple's release to `ARKitScenes`' folder (spec 41 section 4)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from PIL import Image

from mast3r_model import InputError, Mast3rError
from mast3r_train.datasets.files import load_npz, load_text_lines, missing_layout, read_depth_png, read_rgb
from mast3r_train.errors import SampleError

from .arkit_trajectory import Sky, Trajectory, read_trajectory, to_milliseconds
from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .saving import save_jpeg, save_json, save_png
from .scenes import (
    MARKER,
    Camera,
    join_scenes,
    missing_of_scenes,
    read_scene_list,
    read_selection,
    write_scene,
)

LOGGER = logging.getLogger("mast3r.train")

RAW_FOLDERS = {"Training": ("Training",), "Test": ("Test", "Validation")}
"""Folder of the pairs and of what is written -> what the release may call it."""


@dataclass(frozen=True)
class _Scene:
    """One video: the release's folder, its list of pairs, the folder to write."""

    raw: Path
    selection: Path
    out: Path


def plan(request: PrepareRequest) -> Preparation:
    """One unit of work per video.

    Raises:
        InputError: the pairs' folder has no list of scenes, or the release none of its splits.
    """
    assert request.pairs is not None
    scenes: dict[str, list[str]] = {}
    frames: list[Frame] = []
    for split, names in RAW_FOLDERS.items():
        scene_list = request.pairs / split / "scene_list.json"
        if not scene_list.is_file():
            continue
        raw = next((request.raw / name for name in names if (request.raw / name).is_dir()), None)
        if raw is None:
            LOGGER.warning(
                "ARKitScenes: %s has no %s: that split is left out", request.raw, " or ".join(names)
            )
            continue
        scenes[split] = read_scene_list(scene_list)
        for scene in scenes[split]:
            out = request.out / split / scene
            job = _Scene(raw / scene, request.pairs / split / scene / "selected_pairs.npz", out)
            frames.append(Frame(f"{split}/{scene}", out / MARKER, job))
    if not scenes:
        if not any((request.pairs / split / "scene_list.json").is_file() for split in RAW_FOLDERS):
            raise missing_layout(
                "ARKitScenes",
                request.pairs,
                "Training/scene_list.json",
                "--pairs is the folder of the unpacked arkitscenes_pairs.zip",
            )
        raise missing_layout(
            "ARKitScenes",
            request.raw,
            "Training folder",
            "--raw is the folder `raw` of Apple's download script",
        )

    def finish() -> None:
        for split, names in scenes.items():
            save_json(request.out / split / "scene_list.json", names)
            join_scenes(f"ARKitScenes {split}", request.out / split, names, intrinsic_matrices)

    def missing() -> Iterator[str]:
        for split, names in scenes.items():
            folder = request.out / split
            for path in missing_of_scenes(folder, names, partial(_files_of_scene, folder)):
                yield f"{split}/{path}"

    return Preparation(frames, make, finish, missing)


def make(scene: _Scene) -> None:
    """Prepare one video.

    Raises:
        InputError: it is not there, its orientation is not the published one, or images failed.
    """
    if not scene.raw.is_dir():
        raise InputError(f"{scene.raw} does not exist")
    selection = read_selection(scene.selection)
    trajectory = read_trajectory(scene.raw / "lowres_wide.traj")
    sky = trajectory.sky()
    published = str(np.ravel(load_npz(scene.selection, ("sky_direction_scene",))["sky_direction_scene"])[0])
    if published != sky.value:
        raise InputError(
            f"{scene.raw}: {sky.value} is up by the trajectory, {published} by {scene.selection}"
        )
    intrinsics: dict[str, np.ndarray] = {}
    times: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name in selection.names:
        try:
            video, times[name] = _taken(scene, name, trajectory)
            intrinsics[name] = _turned_intrinsics(
                _pincam(scene.raw / "vga_wide_intrinsics", video, times[name]), sky
            )
            _make_image(scene, name, sky)
        except Mast3rError as error:
            failed[name] = error.message
    poses = trajectory.at(np.array([times[name] for name in intrinsics])) @ sky.turned_to_camera
    cameras = {name: Camera(row, pose) for (name, row), pose in zip(intrinsics.items(), poses, strict=True)}
    write_scene(scene.out, selection, cameras, failed)


def _taken(scene: _Scene, name: str, trajectory: Trajectory) -> tuple[str, float]:
    """Video and time of an image, from its name."""
    video, _, seconds = name.removesuffix(".png").rpartition("_")
    try:
        time = to_milliseconds(seconds)
    except ValueError as error:
        raise InputError(f"{scene.selection}: {name!r} is not VIDEO_TIMESTAMP.png") from error
    if not trajectory.covers(time):
        raise InputError(f"{scene.raw}: {name} was taken outside of the trajectory")
    return video, time


def _turned_intrinsics(pincam: Sequence[float], sky: Sky) -> Float[np.ndarray, " 6"]:
    width, height, fx, fy, cx, cy = pincam
    if sky in (Sky.LEFT, Sky.RIGHT):
        # Swapped, not mirrored: wrong unless the point is the centre, and what prepared data everywhere have.
        return np.array([height, width, fy, fx, cy, cx])
    return np.array([width, height, fx, fy, cx, cy])


def _make_image(scene: _Scene, name: str, sky: Sky) -> None:
    photo_file, depth_file = _files(scene.out, name)
    if photo_file.exists() and depth_file.exists():
        return
    photo = np.asarray(read_rgb(scene.raw / "vga_wide" / name))
    depth = read_depth_png(scene.raw / "lowres_depth" / name)
    enlarged = cv2.resize(depth, (photo.shape[1], photo.shape[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    turned = [np.ascontiguousarray(np.rot90(each, -sky.clockwise_turns)) for each in (photo, enlarged)]
    save_jpeg(photo_file, Image.fromarray(turned[0]))
    save_png(depth_file, turned[1].astype(np.uint16))


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    """Photo and depth that are written for an image, in the folder of its scene."""
    return folder / "vga_wide" / f"{name.removesuffix('.png')}.jpg", folder / "lowres_depth" / name


def _files_of_scene(folder: Path, scene: str, name: str) -> tuple[Path, Path]:
    return _files(folder / scene, name)


def _pincam(folder: Path, video: str, time: float) -> Sequence[float]:
    """Width, height, fx, fy, cx, cy of an image; the file's name may be a millisecond off."""
    for offset in (0.0, -0.001, 0.001):
        path = folder / f"{video}_{time + offset:.3f}.pincam"
        if not path.is_file():
            continue
        try:
            numbers = [float(part) for part in load_text_lines(path)[0].split()]
        except (ValueError, IndexError) as error:
            raise SampleError(f"{path} is no file of intrinsics") from error
        if len(numbers) != 6:
            raise SampleError(f"{path}: expected 6 numbers, got {len(numbers)}")
        return numbers
    raise SampleError(f"{folder / f'{video}_{time:.3f}.pincam'} does not exist, nor one a millisecond off")


def intrinsic_matrices(rows: Float[np.ndarray, "m 6"]) -> Float[np.ndarray, "m 3 3"]:
    """From width, height, fx, fy, cx, cy to matrices."""
    matrices = np.tile(np.eye(3), (len(rows), 1, 1))
    matrices[:, 0, 0], matrices[:, 1, 1] = rows[:, 2], rows[:, 3]
    matrices[:, :2, 2] = rows[:, 4:6]
    return matrices


prepare = prepare_command(
    "arkitscenes",
    plan,
    help="ARKitScenes, its `raw` assets, to the folder of ARKitScenes.",
    raw="Folder `raw` of Apple's download script, with Training and Validation.",
    pairs="Folder of the unpacked arkitscenes_pairs.zip.",
)
