"""A scene in a folder: the state that `Scene.load` reads, the report, and exports; all or nothing.

Everything is first written to a folder ``.saving`` inside the target, and moved from there when it is whole,
``scene.safetensors`` last. ``scene.safetensors`` holds every array of the scene, and the rest as one JSON
string in its metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from mast3r_model import ImageTransform, InputError, output_error, registry

from .report.page import report_page
from .scene import DroppedImage, Exporter, PointCloud, Scene, SceneImage, Tracks

STATE_FILE = "scene.safetensors"
REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
SCHEMA = "mast3r.scene/1"
STAGING = ".saving"

_POINTS = ("positions", "colors", "confidence", "components")
_TRACKS = ("positions", "colors", "track", "image", "xy", "reprojection_error")
_MAPS = ("depth", "confidence", "color")


def save_scene(
    scene: Scene, folder: Path, formats: Iterable[str | Exporter], *, shown: Scene | None = None
) -> tuple[Path, ...]:
    """Write a scene; see `Scene.save`.

    Exports that an earlier save left in the folder and that this one does not write again stay if they show
    the same scene, and are removed otherwise.
    """
    exporters = [_exporter(format_) for format_ in formats]
    shown = _seen_from(folder, scene if shown is None else shown)
    scene = _seen_from(folder, scene)
    with _staged(folder) as staging:
        for exporter in exporters:
            exporter(shown, staging)
        report = json.dumps(dict(scene.report), indent=1, default=_plain, allow_nan=True)
        (staging / REPORT_FILE).write_text(report, encoding="utf-8")
        (staging / PAGE_FILE).write_text(report_page(scene), encoding="utf-8")
        entries = sorted(path.name for path in staging.iterdir())
        arrays, about = _state(scene)
        digest = _digest(arrays, about)
        before = _about(folder / STATE_FILE) or {}
        earlier = [name for name in before.get("entries", []) if name not in entries]
        if before.get("digest") == digest:
            kept, stale = earlier, []
        else:
            kept, stale = [], earlier
        about |= {"digest": digest, "entries": sorted(entries + kept)}
        save_file(arrays, staging / STATE_FILE, metadata={"about": json.dumps(about)})
        files = [path.relative_to(staging) for path in sorted(staging.rglob("*")) if path.is_file()]
        for name in [*entries, STATE_FILE]:
            _replace(staging / name, folder / name, staging)
        for name in stale:
            _remove(folder / Path(name).name)
    return tuple(folder / path for path in files)


def export_scene(scene: Scene, folder: Path, formats: Iterable[str | Exporter]) -> tuple[Path, ...]:
    """Write exports alone; see `Scene.export`."""
    exporters = [_exporter(format_) for format_ in formats]
    with _staged(folder) as staging:
        for exporter in exporters:
            exporter(_seen_from(folder, scene), staging)
        entries = sorted(path.name for path in staging.iterdir())
        files = [path.relative_to(staging) for path in sorted(staging.rglob("*")) if path.is_file()]
        if _remember(folder / STATE_FILE, entries, staging):
            entries.append(STATE_FILE)
        for name in entries:
            _replace(staging / name, folder / name, staging)
    return tuple(folder / path for path in files)


def _remember(state: Path, entries: list[str], staging: Path) -> bool:
    """Add to a scene's list of what was written beside it, so that saving another one there removes it.

    Returns:
        Whether there is a new state file to be moved to its place.
    """
    about = _about(state)
    if about is None or set(entries) <= set(about.get("entries", [])):
        return False
    about["entries"] = sorted({*about.get("entries", []), *entries})
    save_file(load_file(state), staging / STATE_FILE, metadata={"about": json.dumps(about)})
    return True


def _seen_from(folder: Path, scene: Scene) -> Scene:
    """The scene with its photos' folder relative to where it is written."""
    return replace(scene, image_folder=_relative(scene.image_folder, folder))


def _exporter(wanted: str | Exporter) -> Exporter:
    if not isinstance(wanted, str):
        return wanted
    found = registry("exporters")[wanted]
    assert callable(found)
    return found


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """An empty folder inside the target, removed in the end; so is the target, if it was made for nothing."""
    staging = folder / STAGING
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)  # of a save that was killed
        staging.mkdir()
        yield staging
    except OSError as error:
        raise output_error(folder, error) from error
    except SafetensorError as error:
        raise output_error(folder, OSError(str(error))) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()


def _replace(new: Path, target: Path, staging: Path) -> None:
    """Move a file or a folder to its place; a folder that is there already is moved away first."""
    for path in [new, *new.rglob("*")] if new.is_dir() else [new]:
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    if not target.is_dir():
        os.replace(new, target)
        return
    old = staging / f"{new.name}.old"
    os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        os.replace(old, target)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _relative(image_folder: str, folder: Path) -> str:
    """Where the photos are, relative to the scene's folder where both are on one drive."""
    if not image_folder or not os.path.isabs(image_folder):
        return image_folder
    try:
        return Path(os.path.relpath(image_folder, folder)).as_posix()
    except ValueError:
        return image_folder


def _plain(value: object) -> object:
    """What JSON has in place of numpy's numbers and arrays, and of paths."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)


def _state(scene: Scene) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = {f"points.{name}": getattr(scene.points, name) for name in _POINTS}
    arrays |= {f"tracks.{name}": getattr(scene.tracks, name) for name in _TRACKS}
    for number, image in enumerate(scene.images):
        arrays |= {f"images.{number}.{name}": getattr(image, name) for name in _MAPS}
        arrays[f"images.{number}.intrinsics"] = image.intrinsics
        arrays[f"images.{number}.cam2world"] = image.cam2world
        arrays[f"images.{number}.network_from_original"] = image.transform.network_from_original
    about = {
        "schema": SCHEMA,
        "images": [
            {
                "name": image.name,
                "original_shape": image.original_shape,
                "transform_shapes": [image.transform.original_shape, image.transform.network_shape],
                "component": image.component,
            }
            for image in scene.images
        ],
        "dropped": [[dropped.name, dropped.reason] for dropped in scene.dropped],
        "report": json.loads(json.dumps(dict(scene.report), default=_plain)),
        "image_folder": scene.image_folder,
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, about


def _digest(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].data if arrays[name].size else b"")
    return digest.hexdigest()


def _about(path: Path) -> dict[str, Any] | None:
    """What a state file says about itself; None where there is none of ours."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["about"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return about if isinstance(about, dict) and about.get("schema") == SCHEMA else None


def load_scene(folder: Path) -> Scene:
    """Read a scene; see `Scene.load`."""
    path = folder / STATE_FILE
    if not path.is_file():
        raise InputError(f"{folder} holds no scene", f"expected {STATE_FILE}, as `mast3r sfm` writes it")
    about = _about(path)
    if about is None:
        raise InputError(f"{path} is broken, or was written by something else")
    try:
        with safe_open(path, framework="numpy") as file:
            images = tuple(
                _image(number, entry, file.get_tensor) for number, entry in enumerate(about["images"])
            )
            points = PointCloud(*(file.get_tensor(f"points.{name}") for name in _POINTS))
            tracks = Tracks(*(file.get_tensor(f"tracks.{name}") for name in _TRACKS))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is broken ({error})") from error
    return Scene(
        images,
        points,
        tracks,
        tuple(DroppedImage(*dropped) for dropped in about["dropped"]),
        about["report"],
        _absolute(about["image_folder"], folder),
    )


def _absolute(image_folder: str, folder: Path) -> str:
    return os.path.normpath(folder.absolute() / image_folder) if image_folder else ""


def _image(number: int, entry: Mapping[str, Any], read: Any) -> SceneImage:
    def array(name: str) -> np.ndarray:
        return read(f"images.{number}.{name}")

    original, network = (tuple(shape) for shape in entry["transform_shapes"])
    return SceneImage(
        name=entry["name"],
        original_shape=tuple(entry["original_shape"]),
        transform=ImageTransform(original, network, array("network_from_original")),
        intrinsics=array("intrinsics"),
        cam2world=array("cam2world"),
        depth=array("depth"),
        confidence=array("confidence"),
        color=array("color"),
        component=int(entry["component"]),
    )
