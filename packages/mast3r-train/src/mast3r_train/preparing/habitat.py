"""``mast3r data prepare habitat``: from scenes to the folder of `Habitat512` (spec 41 section 1)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_model.cli import option
from mast3r_train.datasets.files import load_json, load_text_lines, missing_layout
from mast3r_train.datasets.habitat import VIEWS
from mast3r_train.errors import SampleError

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .habitat_lists import ALL_PLACES, SIZES, write_lists
from .habitat_rendering import (
    MAP_TO_WORLD,
    OpenScene,
    SceneRenderer,
    open_habitat_scene,
    require_habitat_sim,
)
from .panoramas import view_of_panorama
from .published_pairs import missing_files
from .saving import save_exr, save_jpeg, save_json

METADATA = "metadata.json"
SCENES = "scene_datasets"
MAP_SCALE = 4
"""A map has so many times the view's height, and twice that across."""

IMAGE_SUFFIX, DEPTH_SUFFIX, CAMERA_SUFFIX = SUFFIXES = (".jpeg", "_depth.exr", "_camera_params.json")


@dataclass(frozen=True)
class ViewCamera:
    """A view's entry in the metadata.

    Attributes:
        intrinsics: 3x3, pixel centres at integers.
        size_wh: (width, height).
        rotation: 3x3, from the camera's axes (OpenCV) to Habitat's world.
        position: (3,) in Habitat's world, metres.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    size_wh: tuple[int, int]
    rotation: Float[np.ndarray, "3 3"]
    position: Float[np.ndarray, " 3"]

    @classmethod
    def of(cls, stored: Any, name: str) -> ViewCamera:
        """Read it.

        Raises:
            SampleError: a value is missing, of another shape, or not finite.
        """
        try:
            numbers = [
                np.array(stored[key], dtype=np.float64).reshape(shape)
                for key, shape in (("camera_intrinsics", (3, 3)), ("R_cam2world", (3, 3)), ("t_cam2world", 3))
            ]
            width, height = map(int, stored["size"])
        except (KeyError, TypeError, ValueError) as error:
            raise SampleError(f"{name}: its metadata are no camera: {error}") from error
        if not all(np.isfinite(array).all() for array in numbers) or min(width, height) < 1:
            raise SampleError(f"{name}: its metadata hold numbers that are not finite")
        return cls(numbers[0], (width, height), numbers[1], numbers[2])


@dataclass(frozen=True)
class _Job:
    """One place: the file with its views, the folder of all scenes, its folder to write, its name there."""

    metadata: Path
    scenes: Path
    folder: Path
    batch: str
    open_scene: OpenScene

    def file(self, number: int, suffix: str) -> Path:
        return self.folder / f"{self.batch}_{number}{suffix}"


@dataclass(frozen=True)
class _Metadata:
    """A scene and the views of its places."""

    scene: str
    config: str
    batches: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> _Metadata:
        content = load_json(path)
        try:
            batches = {str(batch): dict(views) for batch, views in content["view_batches"].items()}
            return cls(str(content["scene"]), content["scene_dataset_config_file"] or "", batches)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} holds no views: {type(error).__name__}: {error}") from error


_metadata = functools.lru_cache(maxsize=1)(_Metadata.read)
"""Places come scene by scene, so one file is kept."""


class _OpenedScene:
    """The scene that this process renders; opening one takes much longer than rendering a view."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._renderer: SceneRenderer | None = None

    def of(
        self, open_scene: OpenScene, scene: Path, config: Path | None, shape: tuple[int, int]
    ) -> SceneRenderer:
        key = (open_scene, scene, config, shape)
        if self._renderer is None or key != self._key:
            if self._renderer is not None:
                self._renderer.close()  # first: two at the same time may not fit the GPU
            self._renderer = None
            self._renderer = open_scene(scene, config, shape)
            self._key = key
        return self._renderer


_opened = _OpenedScene()


def plan(request: PrepareRequest, open_scene: OpenScene = open_habitat_scene) -> Preparation:
    """Every place that the metadata name; then the lists of places.

    Args:
        request: ``raw`` holds ``scene_datasets``, ``pairs`` is the folder of the unpacked metadata; the
            option ``sizes`` are the places of the training lists.
        open_scene: how scenes are opened.

    Raises:
        InputError: there are no metadata or scenes, or Habitat-Sim is needed and not installed.
        ConfigError: sizes that are none.
    """
    sizes = _sizes(request.options.get("sizes"))
    if not (request.raw / SCENES).is_dir():
        raise missing_layout("Habitat", request.raw, SCENES, "it holds hm3d, gibson and the other scenes")
    frames = list(_frames(request, open_scene))
    if open_scene is open_habitat_scene and not all(frame.marker.exists() for frame in frames):
        require_habitat_sim()
    return Preparation(
        frames=frames,
        make=make,
        finish=lambda: write_lists(request.out, sizes),
        missing=lambda: _missing(request.out, sizes),
    )


def make(job: _Job) -> None:
    """Make the views of one place that are not there.

    Raises:
        InputError: the metadata are broken.
        SampleError: the scene or a view's entry is missing or broken, or cannot be rendered.
    """
    about = _metadata(job.metadata)
    scene = job.scenes / about.scene
    config = job.scenes / about.config if about.config else None
    for path in (scene, *([] if config is None else [config])):
        if not path.exists():
            raise SampleError(f"{job.metadata} names {path}, which does not exist")
    for number in range(1, VIEWS + 1):
        if job.file(number, CAMERA_SUFFIX).exists():
            continue
        name = f"{job.metadata}, view {number} of {job.batch}"
        entry = about.batches[job.batch].get(str(number))
        camera = ViewCamera.of(entry, name)
        height = MAP_SCALE * camera.size_wh[1]
        panorama = _opened.of(job.open_scene, scene, config, (height, 2 * height)).render(camera.position)
        rotation = MAP_TO_WORLD.T @ camera.rotation
        rng = np.random.default_rng(list(f"{about.scene} {job.batch} {number}".encode()))
        color, depth = view_of_panorama(panorama, camera.intrinsics, rotation, camera.size_wh, rng)
        save_jpeg(job.file(number, IMAGE_SUFFIX), Image.fromarray(color))
        save_exr(job.file(number, DEPTH_SUFFIX), depth, half=True)
        save_json(job.file(number, CAMERA_SUFFIX), entry)


def _frames(request: PrepareRequest, open_scene: OpenScene) -> Iterator[Frame]:
    metadata = request.pairs
    if metadata is None:
        raise InputError("the folder of the metadata is not given", "--pairs FOLDER")
    paths = sorted(metadata.rglob(METADATA))
    if not paths:
        hint = "--pairs is the folder of the unpacked habitat_5views_v1_512x512_metadata.tar.gz"
        raise missing_layout("Habitat", metadata, METADATA, hint)
    for path in paths:
        folder = path.parent.relative_to(metadata)
        for batch in sorted(_Metadata.read(path).batches):
            job = _Job(path, request.raw / SCENES, request.out / folder, batch, open_scene)
            yield Frame((folder / batch).as_posix(), job.file(VIEWS, CAMERA_SUFFIX), job)


def _missing(out: Path, sizes: Sequence[int]) -> Iterable[str]:
    places = load_text_lines(out / ALL_PLACES)
    stems = (f"{place}_{number}" for place in places for number in range(1, VIEWS + 1))
    yield from missing_files(out, stems, SUFFIXES)
    for split in ("train", "val"):
        if not any(out.glob(f"Habitat_*_scenes_{split}.txt")):
            least = min(sizes) if split == "train" else min(sizes) // 10
            yield (
                f"Habitat_<n>_scenes_{split}.txt (the {len(places)} places are too few for one of {least}; "
                f"see --sizes)"
            )


def _sizes(text: str | None) -> tuple[int, ...]:
    if text is None:
        return SIZES
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"--sizes {text!r}: expected numbers of places, such as 1000,10000")
    return sizes


prepare = prepare_command(
    "habitat",
    plan,
    help="Habitat-Sim's scenes, rendered, to the folder of Habitat512.",
    raw="Folder that holds scene_datasets with hm3d, gibson and the other scenes.",
    pairs="The unpacked folder 5views_v1_512x512_metadata.",
    options=(
        option(
            "--sizes",
            type=str,
            default=None,
            metavar="N,N,...",
            section="Data",
            help="Places of the training lists, if not 1000, 10000, 100000 and 1000000.",
        ),
    ),
)
