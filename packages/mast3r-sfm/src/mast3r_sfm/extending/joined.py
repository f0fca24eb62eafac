"""The photos of a scene and new ones as one numbered set, with names in one folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from mast3r_model import ImageTransform, InputError
from mast3r_sfm.photos import ImageSet, SourceImage
from mast3r_sfm.scene import DroppedImage, Scene, SceneImage

_SQUARE = 224
"""At this size it is the short side that gets this long, and the middle is cut out (`load_image`)."""


@dataclass(frozen=True, eq=False)
class JoinedPhotos:
    """Photos of a scene, and photos that come to it.

    Attributes:
        scene: as it was, but for the names of its photos if they had to change.
        images: all photos: those of the scene in its order, then the new ones; in ``dropped`` are new ones
            that cannot be used.
        old: how many are the scene's.
    """

    scene: Scene
    images: ImageSet
    old: int

    @property
    def new(self) -> range:
        """Numbers of the new photos."""
        return range(self.old, len(self.images))


def join_photos(scene: Scene, photos: ImageSet) -> JoinedPhotos:
    """Number and name all photos together.

    The scene's photos are not read again: the scene holds what the network saw. New photos that the scene has
    already are left out without a word if they are the same files, and dropped if they are copies.

    Names stay relative to one folder: where the new photos lie outside of the scene's `image_folder`, that
    becomes the folder that all share, and the old names get longer.

    Args:
        scene: finished.
        photos: old and new ones, opened at the scene's size.

    Raises:
        InputError: photos of another size, or two of one name where the scene's folder is unknown.
    """
    _check_size(scene, photos)
    folder, outer = _folder_of(photos), ""
    if scene.image_folder:
        outer = _common([scene.image_folder, *([folder] if folder else [])]) or scene.image_folder
    scene = _renamed(scene, outer)
    known = tuple(_as_source(scene, image) for image in scene.images)
    by_digest, by_name = {image.digest: image for image in known}, {image.name: image for image in known}
    added: list[SourceImage] = []
    dropped = [DroppedImage(_name(drop.name, folder, outer), drop.reason) for drop in photos.dropped]
    for photo in photos:
        named = replace(photo, name=_name(photo.name, folder, outer))
        same = by_digest.get(photo.digest)
        if same is not None:
            if not _is_file_of(photo, same):
                dropped.append(DroppedImage(named.name, f"the same picture as {same.name}"))
        elif outer and named.name in by_name:
            dropped.append(DroppedImage(named.name, "another picture of this name is in the scene already"))
        else:
            added.append(named)
            by_digest[photo.digest] = named
    return JoinedPhotos(scene, ImageSet((*known, *added), tuple(dropped)), len(known))


def network_size(images: Iterable[SceneImage | SourceImage]) -> int:
    """The ``size`` with which photos were opened (`open_images`).

    Raises:
        InputError: there are none, or they were opened with different ones.
    """
    sizes = {_size(image.transform) for image in images}
    if len(sizes) != 1:
        found = f"were opened with sizes {sorted(sizes)}" if sizes else "are none"
        raise InputError(f"there is no one size of the photos: they {found}")
    return sizes.pop()


def _size(transform: ImageTransform) -> int:
    (height, width), matrix = transform.original_shape, transform.network_from_original
    resized = round(height * float(matrix[1, 1])), round(width * float(matrix[0, 0]))
    is_square = transform.network_shape == (_SQUARE, _SQUARE) and min(resized) == _SQUARE
    return _SQUARE if is_square else max(resized)


def _check_size(scene: Scene, photos: ImageSet) -> None:
    expected = network_size(scene.images)
    if len(photos) and (found := network_size(photos)) != expected:
        raise InputError(
            f"the new photos were opened with size {found}, those of the scene with {expected}",
            f"open them with size={expected}",
        )


def _as_source(scene: Scene, image: SceneImage) -> SourceImage:
    path = Path(scene.image_folder, image.name)
    return SourceImage.from_pixels(image.name, path, image.color, image.transform)


def _is_file_of(photo: SourceImage, known: SourceImage) -> bool:
    """Whether a photo of the same content is that very photo: its file, or one in place of a lost file."""
    return os.path.abspath(photo.path) == os.path.abspath(known.path) or not known.path.exists()


def _renamed(scene: Scene, folder: str) -> Scene:
    """The scene with names relative to another folder."""
    if not folder or os.path.normpath(folder) == os.path.normpath(scene.image_folder):
        return scene

    def renamed(name: str) -> str:
        return _name(name, scene.image_folder, folder)

    report = dict(scene.report)
    if "pairs" in report:
        report["pairs"] = [_renamed_pair(pair, renamed) for pair in report["pairs"]]
    return replace(
        scene,
        images=tuple(replace(image, name=renamed(image.name)) for image in scene.images),
        dropped=tuple(replace(drop, name=renamed(drop.name)) for drop in scene.dropped),
        report=report,
        image_folder=folder,
    )


def _renamed_pair(pair: dict[str, Any], renamed: Callable[[str], str]) -> dict[str, Any]:
    return pair | {end: renamed(pair[end]) for end in ("image0", "image1") if end in pair}


def _name(name: str, folder: str, outer: str) -> str:
    """A name in a folder as a name in one around it."""
    if not folder or not outer:
        return name
    return Path(os.path.relpath(Path(folder, name), outer)).as_posix()


def _folder_of(photos: ImageSet) -> str:
    """The folder that names are relative to; empty if paths do not end with the names."""
    folders = set()
    for photo in photos:
        path, parts = Path(os.path.abspath(photo.path)), PurePosixPath(photo.name).parts
        folders.add(str(Path(*path.parts[: -len(parts)])) if path.parts[-len(parts) :] == parts else "")
    return folders.pop() if len(folders) == 1 else ""


def _common(folders: list[str]) -> str:
    """The folder that all lie in; empty for folders on different drives."""
    try:
        return os.path.commonpath([os.path.abspath(folder) for folder in folders])
    except ValueError:
        return ""
