"""The pair file of datasets whose release has no pairs: ``<name>_pairs.npz`` (spec 41 section 16)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from mast3r_model import InputError, atomic_write

from .files import check_indices, load_npz

PAIR = np.dtype([("scene_id", "<i4"), ("im1_id", "<i4"), ("im2_id", "<i4"), ("score", "<f4")])
"""One pair: the number of its scene, the numbers of its two images, how good it is."""

_KEYS = ("scenes", "images", "sceneids", "pairs")


@dataclass(frozen=True, eq=False)
class ScenePairs:
    """Pairs of one scene.

    Attributes:
        scene: its folder, relative to the dataset's.
        images: names of its frames, relative to the scene, without suffix: ``000012``, ``Camera_0/00012``.
        pairs: numbers of two images.
        score: how good each pair is.
    """

    scene: str
    images: Sequence[str]
    pairs: Int[np.ndarray, "n 2"]
    score: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class PairList:
    """All pairs of a dataset.

    Attributes:
        scenes: folder of each scene, relative to the dataset's.
        images: name of each frame, relative to its scene, without suffix.
        sceneids: number of the scene of each image.
        pairs: of dtype `PAIR`; image numbers count through all scenes.
    """

    scenes: tuple[str, ...]
    images: tuple[str, ...]
    sceneids: Int[np.ndarray, " images"]
    pairs: Shaped[np.ndarray, " pairs"]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[str, str, str]:
        """The scene and the two images of a pair."""
        scene, first, second, _ = self.pairs[index]
        return self.scenes[scene], self.images[first], self.images[second]

    @classmethod
    def joined(cls, parts: Iterable[ScenePairs]) -> PairList:
        """One list from the pairs of single scenes, of the images and scenes that have a pair."""
        scenes: list[str] = []
        images: list[str] = []
        counts: list[int] = []
        rows: list[np.ndarray] = [np.empty(0, dtype=PAIR)]
        for part in parts:
            used, numbers = np.unique(part.pairs, return_inverse=True)
            if not len(used):
                continue
            numbers = numbers.reshape(-1, 2) + len(images)
            added = np.empty(len(part.pairs), dtype=PAIR)
            added["scene_id"] = len(scenes)
            added["im1_id"], added["im2_id"] = numbers.T
            added["score"] = part.score
            rows.append(added)
            scenes.append(part.scene)
            images += [part.images[number] for number in used]
            counts.append(len(used))
        sceneids = np.repeat(np.arange(len(scenes), dtype=np.int32), counts)
        return cls(tuple(scenes), tuple(images), sceneids, np.concatenate(rows))

    def within(self, keeps: Callable[[str], bool]) -> PairList:
        """Only the pairs of some scenes.

        Args:
            keeps: whether a scene's pairs stay, by its folder.
        """
        kept = np.array([keeps(scene) for scene in self.scenes], dtype=bool)
        return PairList(self.scenes, self.images, self.sceneids, self.pairs[kept[self.pairs["scene_id"]]])

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            OutputError: it cannot be written.
        """
        with atomic_write(path) as temporary:
            np.savez_compressed(
                temporary,
                scenes=np.array(self.scenes, dtype=np.str_),
                images=np.array(self.images, dtype=np.str_),
                sceneids=np.asarray(self.sceneids, dtype=np.int32),
                pairs=self.pairs,
            )

    @classmethod
    def read(cls, path: Path) -> PairList:
        """Read a file and check that it holds together.

        Raises:
            InputError: missing, broken, or inconsistent; the message names the file and what is wrong.
        """
        stored = load_npz(path, _KEYS)
        scenes, images, sceneids = stored["scenes"], stored["images"], stored["sceneids"]
        for key in ("scenes", "images"):
            if stored[key].ndim != 1 or (stored[key].dtype.kind != "U" and len(stored[key])):
                raise InputError(f"{path}: {key} is {_described(stored[key])}, expected a list of texts")
        if sceneids.shape != images.shape or sceneids.dtype.kind not in "iu":
            raise InputError(
                f"{path}: sceneids is {_described(sceneids)}, expected {len(images)} whole numbers"
            )
        pairs = _as_pairs(stored["pairs"], path)
        check_indices(sceneids, len(scenes), f"{path}: sceneids")
        check_indices(pairs["scene_id"], len(scenes), f"{path}: scene_id of pairs")
        for key in ("im1_id", "im2_id"):
            check_indices(pairs[key], len(images), f"{path}: {key} of pairs")
            if (wrong := np.flatnonzero(sceneids[pairs[key]] != pairs["scene_id"])).size:
                raise InputError(f"{path}: {key} of pair {wrong[0]} is an image of another scene")
        if (same := np.flatnonzero(pairs["im1_id"] == pairs["im2_id"])).size:
            raise InputError(f"{path}: pair {same[0]} is an image with itself")
        return cls(tuple(scenes.tolist()), tuple(images.tolist()), sceneids, pairs)


def _as_pairs(stored: np.ndarray, path: Path) -> np.ndarray:
    names = PAIR.names or ()
    if stored.ndim != 1 or stored.dtype.names is None or set(names) - set(stored.dtype.names):
        raise InputError(
            f"{path}: pairs is {_described(stored)}, expected a list of records with {', '.join(names)}"
        )
    pairs = np.empty(len(stored), dtype=PAIR)
    for name in names:
        pairs[name] = stored[name]
    return pairs


def _described(array: np.ndarray) -> str:
    return f"an array of {array.dtype} with shape {array.shape}"
