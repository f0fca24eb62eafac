"""Pairs of images with known cameras: from a dataset of the view contract, or from a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError, load_image

LIST_COLUMNS = 38


@dataclass(frozen=True, eq=False)
class PosedPair:
    """Two images as the network takes them, and the truth about them. Pixels are the network's.

    Attributes:
        name: for reports.
        image0: (3, h0, w0) in [-1, 1], upright.
        image1: (3, h1, w1).
        intrinsics0: 3x3 of image 0.
        intrinsics1: 3x3 of image 1.
        camera1_from_camera0: 4x4, maps points of camera 0's frame to camera 1's.
        depth0: (h0, w0) z of every pixel, 0 where unknown; None where nothing is known.
        depth1: (h1, w1).
    """

    name: str
    image0: Float[Tensor, "3 h0 w0"]
    image1: Float[Tensor, "3 h1 w1"]
    intrinsics0: Float[np.ndarray, "3 3"]
    intrinsics1: Float[np.ndarray, "3 3"]
    camera1_from_camera0: Float[np.ndarray, "4 4"]
    depth0: Float[np.ndarray, "h0 w0"] | None = None
    depth1: Float[np.ndarray, "h1 w1"] | None = None


class PairDataset(Protocol):
    """A dataset whose items are two views of the view contract (spec 40 section 2)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sequence[Mapping[str, Any]]: ...


def pairs_of_dataset(dataset: PairDataset, limit: int | None = None) -> Iterator[PosedPair]:
    """The pairs of a dataset, upright.

    Args:
        dataset: items are two views.
        limit: stop after so many.
    """
    for index in range(len(dataset) if limit is None else min(limit, len(dataset))):
        first, second = dataset[index]
        image0, intrinsics0, depth0 = _upright(first)
        image1, intrinsics1, depth1 = _upright(second)
        pose0, pose1 = (_array(view["camera_pose"]) for view in (first, second))
        yield PosedPair(
            name=f"{first['instance']} {second['instance']}",
            image0=image0,
            image1=image1,
            intrinsics0=intrinsics0,
            intrinsics1=intrinsics1,
            camera1_from_camera0=np.linalg.solve(pose1, pose0),
            depth0=depth0,
            depth1=depth1,
        )


def _upright(view: Mapping[str, Any]) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Image, intrinsics and depth of a view; portrait views are stored transposed (spec 40 section 4.9)."""
    image = torch.as_tensor(view["img"]).float()
    intrinsics, depth = _array(view["camera_intrinsics"]), _array(view["depthmap"])
    height, width = (int(side) for side in view["true_shape"])
    if height > width and tuple(image.shape[-2:]) == (width, height):
        image, intrinsics, depth = image.transpose(1, 2).contiguous(), intrinsics[[1, 0, 2]], depth.T
    return image, intrinsics, np.maximum(depth, 0)  # the sky's -1 is no depth


def _array(values: Tensor | np.ndarray) -> Float[np.ndarray, ...]:
    array: np.ndarray = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return array.astype(np.float64)


def read_pair_list(
    path: Path, *, size: int = 512, patch_size: int = 16, limit: int | None = None
) -> Iterator[PosedPair]:
    """Pairs of a list in the format of SuperGlue's: 38 columns a line.

    They are: two files (relative to the list or the current folder), two numbers that are ignored (upstream:
    EXIF rotations), two 3x3 intrinsics in pixels of the photos, and the 4x4 camera1_from_camera0, all row by
    row.

    Args:
        path: the list; ``#`` starts a comment.
        size: long side of the network's input.
        patch_size: of the network.
        limit: stop after so many pairs.

    Raises:
        InputError: a line of another form.
        ImageError: a photo that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list of pairs {path}: {error}") from error
    rows = [(number, line.split()) for number, line in enumerate(lines, start=1)]
    rows = [(number, words) for number, words in rows if words and not words[0].startswith("#")]
    for number, words in rows[:limit]:
        try:
            values = np.array(words[2:], dtype=np.float64)
        except ValueError:
            values = np.empty(0)
        if len(words) != LIST_COLUMNS or len(values) != LIST_COLUMNS - 2:
            raise InputError(
                f"{path}, line {number}: expected {LIST_COLUMNS} columns, got {len(words)}",
                "name0 name1 rotation0 rotation1 K0 (9) K1 (9) camera1_from_camera0 (16)",
            )
        photos = [load_image(_find(path, name), size, patch_size=patch_size) for name in words[:2]]
        yield PosedPair(
            name=" ".join(words[:2]),
            image0=photos[0].tensor,
            image1=photos[1].tensor,
            intrinsics0=photos[0].transform.intrinsics_to_network(values[2:11].reshape(3, 3)),
            intrinsics1=photos[1].transform.intrinsics_to_network(values[11:20].reshape(3, 3)),
            camera1_from_camera0=values[20:].reshape(4, 4),
        )


def _find(listing: Path, name: str) -> Path:
    beside = listing.parent / name
    return beside if beside.exists() else Path(name)
