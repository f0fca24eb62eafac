"""What visitors can take away: files that other programs open, built on demand (spec 60 D3)."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mast3r_model import InputError, NothingFoundError, registry
from mast3r_sfm import ViewFilters, filtered

from .photo_copies import PHOTO_FOLDER, copy_name, write_photo_copies
from .views import ViewSettings, shown_scene, write_camera_csv

if TYPE_CHECKING:
    from mast3r_sfm import Scene

    from .reconstruction import Reconstruction
    from .session_folder import Session

PACKED = (".jpg", ".jpeg", ".png", ".webp", ".npz")
"""Files that hardly get smaller in a zip."""


@dataclass(frozen=True)
class Contents:
    """What a download is made of.

    Attributes:
        whole: the scene.
        shown: the points that the page shows.
        names: what the visitor calls the photos, by our names for them.
    """

    whole: Scene
    shown: Scene
    names: Mapping[str, str]


@dataclass(frozen=True)
class Download:
    """A button of the page.

    Attributes:
        label: on it.
        suffix: of the file, where it is a single one; ``.zip`` for downloads of many.
        about: what is in it, for its README.
        build: writes its files into an empty folder.
        photos: whether copies of the photos can be put in.
    """

    label: str
    suffix: str
    about: str
    build: Callable[[Contents, Path], None]
    photos: bool = False


def build_download(
    name: str,
    result: Reconstruction,
    view: ViewSettings,
    session: Session,
    *,
    with_photos: bool = False,
) -> Path:
    """Build a download of what the page shows.

    Args:
        name: a key of `DOWNLOADS`.
        result: of a run.
        view: the page's controls: which points there are.
        session: in whose ``exports`` the file lies.
        with_photos: put copies of the photos in, where `Download.photos` allows it. They are upright and
            have no metadata: no place, no time, no camera.

    Returns:
        ``mast3r_<date>_<n>photos_<name>`` with the suffix.

    Raises:
        InputError: no download has that name.
        NothingFoundError: there is nothing to write.
        OutputError: a file cannot be written.
    """
    if name not in DOWNLOADS:
        raise InputError(f"there is no download {name!r}", f"choose one of {', '.join(DOWNLOADS)}")
    download = DOWNLOADS[name]
    whole = _portable(_cleaned(result.scene, view))
    shown = replace(shown_scene(result.scene, view), image_folder=PHOTO_FOLDER)
    shown = _renamed(shown)
    contents = Contents(whole, shown, _names(session))
    with tempfile.TemporaryDirectory(prefix=".download-", dir=session.folder) as made:
        folder = Path(made)
        download.build(contents, folder)
        if not any(folder.iterdir()):
            raise NothingFoundError("there is nothing to write", "hide fewer points")
        photos = with_photos and download.photos
        if photos:
            write_photo_copies(result, folder / PHOTO_FOLDER)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        single = len(files) == 1 and download.suffix != ".zip"
        title = file_name(name, len(whole.images), download.suffix if single else ".zip")
        with session.new_export(title) as temporary:
            if single:
                shutil.move(files[0], temporary)
            else:
                (folder / "README.txt").write_text(_readme(download, photos=photos), encoding="utf-8")
                write_camera_csv(whole, folder / "photos.csv", contents.names)
                zip_folder(folder, temporary)
    return session.exports / title


def file_name(name: str, photos: int, suffix: str, date: datetime.date | None = None) -> str:
    """``mast3r_<date>_<n>photos_<name>`` with the suffix.

    Args:
        name: of the format.
        photos: how many.
        suffix: with its dot.
        date: None: today.
    """
    return f"mast3r_{date or datetime.date.today():%Y-%m-%d}_{photos}photos_{name}{suffix}"


def zip_folder(folder: Path, path: Path) -> None:
    """Everything below a folder as a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            packed = file.suffix.lower() in PACKED
            method = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            archive.write(file, file.relative_to(folder).as_posix(), method, 1)


def _cleaned(scene: Scene, view: ViewSettings) -> Scene:
    """The whole scene with its depths cleaned, as `mast3r_sfm.reconstruct` does, if the page says so."""
    cleaned = filtered(scene, ViewFilters(clean_depth=view.clean_depth))
    return replace(cleaned, appearance=scene.appearance)


def _portable(scene: Scene) -> Scene:
    """The scene without paths of this machine."""
    return _renamed(replace(scene, image_folder=PHOTO_FOLDER))


def _renamed(scene: Scene) -> Scene:
    """The scene with its photos named as their copies are."""
    images = tuple(replace(image, name=copy_name(image.name)) for image in scene.images)
    return replace(scene, images=images)


def _names(session: Session) -> dict[str, str]:
    return {copy_name(ours): theirs for ours, theirs in session.photo_names.items()}


def _export(*formats: str) -> Callable[[Contents, Path], None]:
    """Registered exporters, for the points that are shown."""

    def build(contents: Contents, folder: Path) -> None:
        contents.shown.export(folder, formats)

    return build


def _report(contents: Contents, folder: Path) -> None:
    contents.whole.export(folder, ["report"])


def _depth(contents: Contents, folder: Path) -> None:
    for image in contents.whole.images:
        path = folder / "depth" / f"{image.name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            allow_pickle=False,
            depth=image.depth,
            confidence=image.confidence,
            color=image.color,
            intrinsics=image.network_intrinsics,
            cam2world=image.cam2world,
        )


def _everything(contents: Contents, folder: Path) -> None:
    depth = registry("exporters")["depth"]
    assert callable(depth)
    formats = ("cameras", "colmap", "glb", "nerfstudio", "ply", partial(depth, original_size=False))
    contents.whole.save(folder, formats, shown=contents.shown)


def _readme(download: Download, *, photos: bool) -> str:
    lines = [
        "Made with mast3r.",
        "",
        download.about,
        "",
        "photos.csv lists the photos: what you called them, what they are called here, and their cameras.",
        "Cameras look along +z, with x to the right and y down; cam2world goes from there to the world.",
    ]
    if photos:
        lines += [
            "",
            f"{PHOTO_FOLDER}/ holds the photos, upright and without metadata (no place, no time).",
        ]
    return os.linesep.join([*lines, ""])


DOWNLOADS: Mapping[str, Download] = {
    "glb": Download(
        "GLB", ".glb", "scene.glb: points or triangles, and cameras; a file for each group.", _export("glb")
    ),
    "ply": Download(
        "PLY", ".ply", "points.ply: points with colours and confidence; mesh.ply: triangles.", _export("ply")
    ),
    "colmap": Download(
        "COLMAP", ".zip", "sparse/0 is a COLMAP model in the photos' pixels.", _export("colmap"), photos=True
    ),
    "nerfstudio": Download(
        "nerfstudio", ".zip", "transforms.json and its points.ply.", _export("nerfstudio"), photos=True
    ),
    "depth": Download(
        "Depth maps",
        ".zip",
        "depth/<photo>.npz: depth (z, in the scene's unit; 0: unknown), confidence, color, intrinsics (3x3, "
        "in the map's pixels) and cam2world (4x4), for numpy.load.",
        _depth,
    ),
    "cameras": Download("Cameras (JSON)", ".json", "cameras.json explains itself.", _export("cameras")),
    "report": Download("Report", ".html", "report.html opens in a browser.", _report),
    "everything": Download(
        "Everything",
        ".zip",
        "All formats, and scene.safetensors: give this folder to `mast3r export` or `mast3r view`.",
        _everything,
        photos=True,
    ),
}
"""By name, in the order of the page's buttons."""

FORMATS: Sequence[str] = tuple(DOWNLOADS)
