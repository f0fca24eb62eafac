"""`all_metadata.npz`: images, cameras, pairs of all scenes in one file (ARKitScenes, ScanNet++; spec 41)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mast3r_model import InputError
from mast3r_train.geometry.orientation import View
from mast3r_train.views import PairDataset

from .cameras import Camera
from .files import check_indices, load_npz, missing_layout

FILE_NAME = "all_metadata.npz"

_KEYS = ("scenes", "sceneids", "images", "intrinsics", "trajectories", "pairs")


@dataclass(frozen=True, eq=False)
class SceneMetadata:
    """What the file says.

    Attributes:
        scenes: names of the scenes.
        sceneids: (number of images,) of each, its scene.
        images: names of the images.
        intrinsics: (images, 3, 3) float32 in pixels.
        trajectories: (images, 4, 4) float32 cam2world in metres.
        pairs: (pairs, 2) indices into ``images``.
    """

    scenes: list[str]
    sceneids: Int[np.ndarray, " images"]
    images: list[str]
    intrinsics: Float[np.ndarray, "images 3 3"]
    trajectories: Float[np.ndarray, "images 4 4"]
    pairs: Int[np.ndarray, "pairs 2"]

    def scene_of(self, image: int) -> str:
        """Name of an image's scene."""
        return self.scenes[self.sceneids[image]]

    def camera(self, image: int) -> Camera:
        """An image's intrinsics and pose."""
        return self.intrinsics[image], self.trajectories[image]


def load_scene_metadata(dataset: str, folder: Path) -> SceneMetadata:
    """Read and check ``all_metadata.npz``.

    Args:
        dataset: the dataset's name, for messages.
        folder: that holds the file.

    Raises:
        InputError: it is missing, broken, or its arrays do not fit each other.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise missing_layout(dataset, folder, FILE_NAME)
    stored = load_npz(path, _KEYS)
    count = len(stored["images"])
    expected = {"sceneids": (count,), "intrinsics": (count, 3, 3), "trajectories": (count, 4, 4)}
    for key, shape in expected.items():
        if stored[key].shape != shape:
            raise InputError(
                f"{path}: {key} has the shape {stored[key].shape}, expected {shape} for {count} images"
            )
    pairs = stored["pairs"]
    if pairs.ndim != 2 or pairs.shape[1] < 2:
        raise InputError(f"{path}: pairs has the shape {pairs.shape}, expected (number of pairs, 2 or more)")
    indices = pairs[:, :2].astype(np.int64)
    check_indices(indices, count, f"{path}: pairs")
    sceneids = stored["sceneids"].astype(np.int64)
    check_indices(sceneids, len(stored["scenes"]), f"{path}: sceneids")
    return SceneMetadata(
        scenes=[str(name) for name in stored["scenes"]],
        sceneids=sceneids,
        images=[str(name) for name in stored["images"]],
        intrinsics=stored["intrinsics"].astype(np.float32),
        trajectories=stored["trajectories"].astype(np.float32),
        pairs=indices,
    )


class PairsOfScenes(PairDataset):
    """A dataset whose pairs are those of an ``all_metadata.npz``; a subclass reads it and makes one view."""

    metadata: SceneMetadata

    def __len__(self) -> int:
        return len(self.metadata.pairs)

    def get_stats(self) -> str:
        return f"{len(self):_} pairs of {len(self.metadata.scenes):_} scenes"

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        return [self._view(index, image, resolution, rng) for image in self.metadata.pairs[index].tolist()]

    @abstractmethod
    def _view(self, index: int, image: int, resolution: tuple[int, int], rng: np.random.Generator) -> View:
        """The view of an image, by its number in the metadata, in a pair."""
