"""Preparations by scenes: selected images and pairs of each, joined in one file (spec 41 sections 4 and 7).

A scene is one unit of work. Images that are there already are kept. A scene of which an image could not be
made is usable without it, and unfinished: the next run tries that image again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from mast3r_model import InputError
from mast3r_train.datasets.files import check_indices, load_json, load_npz
from mast3r_train.datasets.scene_metadata import FILE_NAME

from .saving import save_json, save_npz

LOGGER = logging.getLogger("mast3r.train")

MARKER = "prepared.json"
"""Written last in a scene's folder, when no image failed."""

SCENE_FILE = "scene_metadata.npz"
NAMED_AT_MOST = 3


@dataclass(frozen=True, eq=False)
class Selection:
    """Images of a scene and pairs of them, as the published archives list them.

    Attributes:
        names: of images.
        pairs: two indices into ``names``, then perhaps a score.
    """

    names: Sequence[str]
    pairs: Float[np.ndarray, "pairs columns"]

    def keep(self, positions: Sequence[int]) -> Selection:
        """Only the images at these positions; pairs of others are dropped, the rest re-indexed."""
        new_position = np.full(len(self.names), -1)
        new_position[list(positions)] = np.arange(len(positions))
        pairs = self.pairs.copy()
        pairs[:, :2] = new_position[self.pairs[:, :2].astype(np.int64)]
        return Selection([self.names[i] for i in positions], pairs[(pairs[:, :2] >= 0).all(1)])


@dataclass(frozen=True, eq=False)
class Camera:
    """An image's camera.

    Attributes:
        intrinsics: in the form that the dataset's scene file has.
        cam2world: 4x4.
    """

    intrinsics: Shaped[np.ndarray, "*any"]
    cam2world: Float[np.ndarray, "4 4"]


def read_selection(path: Path) -> Selection:
    """``selected_pairs.npz`` of a scene.

    Raises:
        InputError: missing, broken, or with indices out of range.
    """
    stored = load_npz(path, ("selection", "pairs"))
    names, pairs = [str(name) for name in stored["selection"]], stored["pairs"]
    if pairs.ndim != 2 or pairs.shape[1] < 2:
        raise InputError(f"{path}: pairs has the shape {pairs.shape}, expected (number of pairs, 2 or more)")
    check_indices(pairs[:, :2].astype(np.int64), len(names), f"{path}: pairs")
    return Selection(names, pairs.astype(np.float64))


def read_scene_list(path: Path) -> list[str]:
    """``scene_list.json``: names of scenes.

    Raises:
        InputError: missing, or no list of names.
    """
    names = load_json(path)
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(f"{path}: expected a list of scenes' names")
    return names


def write_scene(
    folder: Path, selection: Selection, cameras: Mapping[str, Camera], failed: Mapping[str, str]
) -> None:
    """Write a scene's cameras and pairs, and the marker if no image failed.

    Args:
        folder: of the scene.
        selection: as published.
        cameras: of the images that are there; images that are neither here nor in ``failed`` are not in
            the release.
        failed: image -> why it could not be made.

    Raises:
        InputError: images failed; the message names some.
    """
    kept = selection.keep(
        [i for i, name in enumerate(selection.names) if name in cameras and name not in failed]
    )
    save_npz(
        folder / SCENE_FILE,
        trajectories=np.array([cameras[name].cam2world for name in kept.names], dtype=np.float64).reshape(
            -1, 4, 4
        ),
        intrinsics=np.array([cameras[name].intrinsics for name in kept.names], dtype=np.float64),
        images=np.array(kept.names, dtype=str),
        pairs=kept.pairs,
    )
    if failed:
        shown = "; ".join(list(failed.values())[:NAMED_AT_MOST])
        more = f" ({len(failed)} images failed)" if len(failed) > NAMED_AT_MOST else ""
        raise InputError(f"{shown}{more}")
    report = {
        "images": len(kept.names),
        "images_not_in_release": len(selection.names) - len(kept.names),
        "pairs": len(kept.pairs),
        "pairs_dropped": len(selection.pairs) - len(kept.pairs),
    }
    save_json(folder / MARKER, report)


def join_scenes(
    dataset: str, folder: Path, scenes: Sequence[str], matrices: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Write ``all_metadata.npz`` of all scenes that are there, and say what the release lacks.

    Args:
        dataset: its name, for messages.
        folder: that holds the scenes' folders.
        scenes: in the order of the list.
        matrices: from the scene file's intrinsics to (images, 3, 3).

    Raises:
        InputError: a scene's file is broken.
    """
    parts: dict[str, list[np.ndarray]] = {
        key: [] for key in ("images", "intrinsics", "trajectories", "pairs")
    }
    there: list[str] = []
    counts: list[int] = []
    total = 0
    lacking = {"images_not_in_release": 0, "pairs_dropped": 0}
    for scene in scenes:
        if not (folder / scene / SCENE_FILE).exists():
            continue
        stored = load_npz(folder / scene / SCENE_FILE, tuple(parts))
        if (folder / scene / MARKER).exists():
            report = load_json(folder / scene / MARKER)
            lacking = {key: count + int(report.get(key, 0)) for key, count in lacking.items()}
        if not len(stored["images"]):
            continue
        stored["intrinsics"] = matrices(stored["intrinsics"])
        stored["pairs"] = stored["pairs"].astype(np.float64)
        stored["pairs"][:, :2] += total
        for key, arrays in parts.items():
            arrays.append(stored[key])
        there.append(scene)
        counts.append(total)
        total += len(stored["images"])
    if lacking["images_not_in_release"]:
        LOGGER.warning(
            "%s: %s selected images are not in this release; they are left out, with %s pairs",
            dataset,
            f"{lacking['images_not_in_release']:,}",
            f"{lacking['pairs_dropped']:,}",
        )
    if not there:
        return
    sizes = np.diff([*counts, total])
    save_npz(
        folder / FILE_NAME,
        counts=np.array(counts),
        scenes=np.array(there, dtype=str),
        sceneids=np.repeat(np.arange(len(there)), sizes),
        **{key: np.concatenate(arrays) for key, arrays in parts.items()},
    )


def missing_of_scenes(
    folder: Path, scenes: Sequence[str], files: Callable[[str, str], Sequence[Path]]
) -> Iterator[str]:
    """Files of the scenes' pairs that are not there, relative to the folder.

    Args:
        folder: that holds the scenes' folders.
        scenes: names.
        files: from a scene and an image's name to the image's files.
    """
    for scene in scenes:
        if not (folder / scene / SCENE_FILE).exists():
            yield f"{scene}/{SCENE_FILE}"
            continue
        stored = load_npz(folder / scene / SCENE_FILE, ("images", "pairs"))
        for image in np.unique(stored["pairs"][:, :2].astype(np.int64)).tolist():
            for path in files(scene, str(stored["images"][image])):
                if not path.exists():
                    yield str(path.relative_to(folder))
