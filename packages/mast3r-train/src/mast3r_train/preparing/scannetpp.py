"""``mast3r data prepare scannetpp``: from the release to the folder of `ScanNetpp` (spec 41 section 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import click
import numpy as np
from jaxtyping import Float
from PIL import Image

from mast3r_model import InputError, Mast3rError
from mast3r_model.cli import option
from mast3r_train.datasets.files import missing_layout, read_mask, read_rgb
from mast3r_train.errors import SampleError
from mast3r_train.geometry import rescale

from .colmap_text import ColmapCamera, ColmapImage, read_colmap_cameras, read_colmap_images
from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .mesh_depth import MeshDepth
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
from .undistortion import Undistortion

WIDTH = 920
"""Prepared photos are at least this wide, and 3/4 of it high."""

MILLIMETRES = 1000


@dataclass(frozen=True)
class _Capture:
    """Where a kind of camera keeps its files, in the folder of a scene."""

    folder: str
    photos: str
    masks: str
    suffix: str
    extract: str


_CAPTURES: Mapping[str, _Capture] = {
    "DSC": _Capture("dslr", "resized_images", "resized_anon_masks", ".JPG", "download the DSLR assets"),
    "frame_": _Capture(
        "iphone", "rgb", "rgb_masks", ".jpg", "extract the videos' frames by ScanNet++'s toolbox"
    ),
}
"""Start of an image's name -> its camera."""


@dataclass(frozen=True)
class _Scene:
    """One scene: the release's folder, its list of pairs, the folder to write, the size of photos."""

    raw: Path
    selection: Path
    out: Path
    width: int


@dataclass(frozen=True, eq=False)
class _Photo:
    """One photo to prepare: its files and its cameras, that of the lens and that of the prepared photo."""

    photo: Path
    mask: Path
    lens: Undistortion
    target_wh: tuple[int, int]
    size_wh: tuple[int, int]
    intrinsics: Float[np.ndarray, "3 3"]
    cam2world: Float[np.ndarray, "4 4"]


def plan(request: PrepareRequest) -> Preparation:
    """One unit of work per scene.

    Raises:
        InputError: the pairs' folder has no list of scenes.
    """
    assert request.pairs is not None
    scene_list = request.pairs / "scene_list.json"
    if not scene_list.is_file():
        raise missing_layout(
            "ScanNetpp",
            request.pairs,
            scene_list.name,
            "--pairs is the folder of the unpacked scannetpp_pairs.zip (version 2: scannetpp_v2_pairs.zip)",
        )
    raw = request.raw / "data"
    if not raw.is_dir():
        raise missing_layout("ScanNetpp", request.raw, "data folder", "--raw is the folder that holds `data`")
    scenes = read_scene_list(scene_list)
    width = int(request.options.get("target_resolution", WIDTH))
    frames = []
    for scene in scenes:
        out = request.out / scene
        job = _Scene(raw / scene, request.pairs / scene / "selected_pairs.npz", out, width)
        frames.append(Frame(scene, out / MARKER, job))

    def finish() -> None:
        save_json(request.out / "scene_list.json", scenes)
        join_scenes("ScanNet++", request.out, scenes, lambda matrices: matrices)

    return Preparation(
        frames, make, finish, lambda: missing_of_scenes(request.out, scenes, partial(_files, request.out))
    )


def make(scene: _Scene) -> None:
    """Prepare one scene; selected images that the release does not have are left out.

    Raises:
        InputError: files of the scene are missing or broken, or images failed.
    """
    if not scene.raw.is_dir():
        raise InputError(f"{scene.raw} does not exist")
    selection = read_selection(scene.selection)
    cameras: dict[str, Camera] = {}
    failed: dict[str, str] = {}
    mesh: MeshDepth | None = None
    for name, photo in _photos(scene, selection.names).items():
        at_corner = photo.intrinsics.copy()
        at_corner[:2, 2] += 0.5  # as upstream stores it, and as no other dataset does
        cameras[name] = Camera(at_corner, photo.cam2world)
        files = _files(scene.out.parent, scene.out.name, name)
        if all(path.exists() for path in files):
            continue
        if mesh is None:
            mesh = MeshDepth.load(scene.raw / "scans" / "mesh_aligned_0.05.ply")
        try:
            _make_image(photo, mesh, *files)
        except Mast3rError as error:
            failed[name] = error.message
    write_scene(scene.out, selection, cameras, failed)


def _photos(scene: _Scene, names: Sequence[str]) -> dict[str, _Photo]:
    """Those of the names that the release has.

    Raises:
        InputError: a name of another kind, or a kind of camera is not there at all.
    """
    target = scene.width, scene.width * 3 // 4
    photos = {}
    models: dict[str, tuple[dict[int, ColmapCamera], dict[str, ColmapImage]]] = {}
    lenses: dict[tuple[str, int], Undistortion] = {}
    for name in names:
        start = next((start for start in _CAPTURES if name.startswith(start)), None)
        if start is None:
            raise InputError(f"{scene.selection}: image {name!r}, expected names DSC... and frame_...")
        capture = _CAPTURES[start]
        folder = scene.raw / capture.folder
        if start not in models:
            if not (folder / capture.photos).is_dir():
                raise InputError(f"{folder / capture.photos} does not exist: {capture.extract}")
            images = read_colmap_images(folder / "colmap" / "images.txt")
            by_stem = {PurePosixPath(image.name).stem: image for image in images}  # some have a folder before
            models[start] = read_colmap_cameras(folder / "colmap" / "cameras.txt"), by_stem
        cameras, images_by_stem = models[start]
        photo = folder / capture.photos / f"{name}{capture.suffix}"
        image = images_by_stem.get(name)
        if image is None or not photo.is_file():
            continue
        if (key := (start, image.camera_id)) not in lenses:
            if image.camera_id not in cameras:
                raise InputError(
                    f"{folder}/colmap/cameras.txt has no camera {image.camera_id}, that of {name}"
                )
            lenses[key] = Undistortion.of(cameras[image.camera_id])
        lens = lenses[key]
        # A blank image tells size and intrinsics of the scaled one.
        blank, _, matrix = rescale(Image.new("L", lens.size_wh), None, lens.new_matrix, target)
        mask = folder / capture.masks / f"{name}.png"
        photos[name] = _Photo(photo, mask, lens, target, blank.size, matrix, np.linalg.inv(image.world2cam))
    return photos


def _make_image(photo: _Photo, mesh: MeshDepth, photo_file: Path, depth_file: Path) -> None:
    image, mask = np.asarray(read_rgb(photo.photo)), read_mask(photo.mask)
    width, height = photo.lens.size_wh
    for path, array in ((photo.photo, image), (photo.mask, mask)):
        if array.shape[:2] != (height, width):
            raise SampleError(
                f"{path} has {array.shape[1]}x{array.shape[0]} pixels, its camera {width}x{height}"
            )
    pinhole = [Image.fromarray(array) for array in photo.lens.apply(image, mask)]
    scaled, scaled_mask = (rescale(each, None, photo.lens.new_matrix, photo.target_wh)[0] for each in pinhole)
    depth = mesh.render(photo.intrinsics, photo.cam2world, photo.size_wh)
    millimetres = (depth * MILLIMETRES).astype(np.uint16)
    millimetres[np.asarray(scaled_mask) < 255] = 0
    save_jpeg(photo_file, scaled)
    save_png(depth_file, millimetres)


def _files(folder: Path, scene: str, name: str) -> tuple[Path, Path]:
    """Photo and depth that are written for an image."""
    return folder / scene / "images" / f"{name}.jpg", folder / scene / "depth" / f"{name}.png"


prepare = prepare_command(
    "scannetpp",
    plan,
    help="ScanNet++, photos, models and meshes, to the folder of ScanNetpp.",
    raw="Folder that holds `data`: DSLR and iPhone photos, their masks and COLMAP models, meshes.",
    pairs="Folder of the unpacked scannetpp_pairs.zip, or scannetpp_v2_pairs.zip for version 2.",
    options=(
        option(
            "--target-resolution",
            type=click.IntRange(min=32),
            default=WIDTH,
            section="Data",
            help="Photos become at least so wide, and 3/4 of it high.",
        ),
    ),
)
