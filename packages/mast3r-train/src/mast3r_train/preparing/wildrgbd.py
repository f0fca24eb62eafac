"""``mast3r data prepare wildrgbd``: from WildRGB-D's archives to `WildRgbd`'s folder (spec 41 section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from mast3r_model import InputError
from mast3r_train.datasets.files import (
    load_json,
    load_text_lines,
    missing_layout,
    read_mask,
    read_png16,
    read_rgb,
)
from mast3r_train.geometry import crop

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .object_sequences import (
    ListedFrame,
    ObjectView,
    chosen_at_random,
    missing_files,
    write_lists,
)
from .saving import save_jpeg, save_npz, save_png

MOST_SCENES = {"train": 50, "test": 10}
"""Of a category."""

SEED = 42 + int(b"category".hex(), 16)
"""Upstream meant the category's name; it is the word itself, so all categories have one seed."""

FRAMES = 100
"""Of a scene, evenly spread."""

_HINT = "--raw is the folder in which the categories' archives are unzipped"


@dataclass(frozen=True)
class _Job:
    """One frame: the scene's folders and the camera."""

    raw: Path
    out: Path
    number: int
    intrinsics: np.ndarray
    cam2world: np.ndarray

    @property
    def files(self) -> tuple[Path, Path, Path, Path]:
        """Photo, depth, mask and camera of the prepared frame."""
        name = f"{self.number:05d}"
        return (
            self.out / "rgb" / f"{name}.jpg",
            self.out / "depth" / f"{name}.png",
            self.out / "masks" / f"{name}.png",
            self.out / "metadata" / f"{name}.npz",
        )


def plan(request: PrepareRequest) -> Preparation:
    """The frames of the chosen scenes of each category.

    Raises:
        InputError: there is no category, or one of its lists is missing or broken.
    """
    categories = sorted(path.parent.name for path in request.raw.glob("*/scenes") if path.is_dir())
    if not categories:
        raise missing_layout("WildRgbd", request.raw, "<category>/scenes", _HINT)
    listed: list[ListedFrame] = []
    jobs: dict[Path, _Job] = {}
    broken: list[Frame] = []
    for category in categories:
        for split, scenes in _chosen(request.raw / category).items():
            for scene in scenes:
                folder = request.out / category / scene
                try:
                    of_scene = _jobs(request.raw / category / scene, folder)
                except InputError as error:
                    broken.append(Frame.broken(f"{category}/{scene}", error.message))
                    continue
                for job in of_scene:
                    marker = job.files[-1]
                    jobs[marker] = job
                    listed.append(ListedFrame(split, category, scene, job.number, marker))
    frames = [Frame(str(job.files[0].relative_to(request.out)), marker, job) for marker, job in jobs.items()]
    return Preparation(
        frames=[*frames, *broken],
        make=make,
        finish=lambda: write_lists(request.out, listed),
        missing=lambda: missing_files(request.out, listed, lambda entry: jobs[entry.marker].files),
    )


def make(job: _Job) -> None:
    """Make one frame.

    Raises:
        SampleError: a raw file is missing or broken.
    """
    name = f"{job.number:05d}.png"
    image = job.raw / "rgb" / name
    view = ObjectView(
        read_rgb(image),
        read_png16(job.raw / "depth" / name),
        read_mask(job.raw / "masks" / name),
        job.intrinsics,
    )
    view = view.cut_and_scaled(crop_around_exact_point, str(image))
    photo, depth, mask, camera = job.files
    save_jpeg(photo, view.image)
    save_png(depth, view.depth)
    save_png(mask, view.mask)
    save_npz(camera, camera_intrinsics=view.intrinsics, camera_pose=job.cam2world)


def crop_around_exact_point(
    image: Image.Image, depth: np.ndarray | None, intrinsics: Float[np.ndarray, "3 3"]
) -> tuple[Image.Image, np.ndarray | None, Float[np.ndarray, "3 3"]]:
    """Like `crop_around_principal_point`, but only the box is cut to whole pixels, towards 0.

    Raises:
        ValueError: the principal point is outside of the image.
    """
    width, height = image.size
    cx, cy = intrinsics[:2, 2].tolist()
    mx, my = min(cx, width - cx), min(cy, height - cy)
    if mx <= 0 or my <= 0:
        raise ValueError(f"the principal point ({cx:g}, {cy:g}) is outside of the image of {width}x{height}")
    return crop(image, depth, intrinsics, (int(cx - mx), int(cy - my), int(cx + mx), int(cy + my)))


def _chosen(category: Path) -> dict[str, list[str]]:
    """Split -> scenes, as paths below the category."""
    names = ("camera_eval_list.json", "nvs_list.json")
    lists = [_scene_list(category / name) for name in names]
    train = lists[0]["train"] & lists[1]["train"]
    everything = set().union(*(scenes for of_list in lists for scenes in of_list.values()))
    chosen = {}
    for split, scenes in (("train", train), ("test", everything - train)):
        there = sorted(scene for scene in scenes if (category / scene).is_dir())
        most = MOST_SCENES[split]
        chosen[split] = chosen_at_random(there, most, SEED) if len(there) > most else there
    return chosen


def _scene_list(path: Path) -> dict[str, set[str]]:
    if not path.is_file():
        raise missing_layout("WildRgbd", path.parent, path.name, _HINT)
    stored = load_json(path)
    try:
        return {part: {str(scene) for scene in stored[part]} for part in ("train", "val")}
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is no list of scenes with train and val: {error!r}") from error


def _jobs(raw: Path, out: Path) -> list[_Job]:
    """A scene's frames.

    Raises:
        InputError: its cameras are missing or broken.
    """
    path = raw / "metadata"
    try:
        # Stored by columns.
        K = np.array(load_json(path)["K"], np.float32).reshape(3, 3).T
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no intrinsics K: {error!r}") from error
    path = raw / "cam_poses.txt"
    try:
        rows = np.array([line.split() for line in load_text_lines(path)], np.float64)
        numbers, poses = rows[:, 0].astype(int), rows[:, 1:].reshape(-1, 4, 4)
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} is no list of a frame and 16 numbers a line: {error}") from error
    chosen = np.unique(np.round(np.linspace(0, len(rows) - 1, FRAMES)).astype(int))
    return [_Job(raw, out, int(numbers[row]), K, poses[row].astype(np.float32)) for row in chosen]


prepare = prepare_command(
    "wildrgbd",
    plan,
    help="WildRGB-D, its archives unzipped, to the folder of WildRgbd.",
    raw="Folder in which the categories' archives are unzipped.",
)
