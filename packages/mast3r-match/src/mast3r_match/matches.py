"""The result: matches of two photos in the photos' own pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from mast3r_model import ImageTransform, InputError

from .selection import spread_selection


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches of two photos, one per row of every array.

    Pixels are (x, y) of the upright original photos, an integer being a pixel's centre.

    Attributes:
        keypoints0: (n, 2) pixels of photo 0.
        keypoints1: (n, 2) pixels of photo 1.
        scores: (n,) confidence, above 0; the higher the better. Its scale is the network's.
        points3d0: (n, 3) what keypoints0 see, in the camera frame of photo 0 (x right, y down, z forward), in
            the network's unit; None if the network gave no points.
        points3d1: (n, 3) what keypoints1 see, in the same frame.
        image_shape0: (height, width) of photo 0.
        image_shape1: (height, width) of photo 1.
        transform0: between the pixels of photo 0 and those that were matched: the network's input, or the
            photo as windows were cut from it.
        transform1: the same for photo 1.
        name0: path or name of photo 0.
        name1: path or name of photo 1.
        made_with: model, options and versions, ready for JSON.
    """

    keypoints0: Float32[np.ndarray, "n 2"]
    keypoints1: Float32[np.ndarray, "n 2"]
    scores: Float32[np.ndarray, " n"]
    points3d0: Float32[np.ndarray, "n 3"] | None = None
    points3d1: Float32[np.ndarray, "n 3"] | None = None
    image_shape0: tuple[int, int] = (0, 0)
    image_shape1: tuple[int, int] = (0, 0)
    transform0: ImageTransform | None = None
    transform1: ImageTransform | None = None
    name0: str = ""
    name1: str = ""
    made_with: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make every array float32.

        Raises:
            InputError: arrays whose lengths or widths do not fit.
        """
        widths = {"keypoints0": 2, "keypoints1": 2, "points3d0": 3, "points3d1": 3}
        object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float32).reshape(-1))
        for name, width in widths.items():
            values = getattr(self, name)
            if values is None:
                continue
            array = np.asarray(values, dtype=np.float32)
            if array.shape != (len(self.scores), width):
                raise InputError(f"{name} must have shape ({len(self.scores)}, {width}), got {array.shape}")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """Number of matches."""
        return len(self.scores)

    def select(self, rows: Bool[np.ndarray, " n"] | Int[np.ndarray, " kept"]) -> Matches:
        """Some of the matches.

        Args:
            rows: a mask or indices.
        """
        return dataclasses.replace(
            self,
            keypoints0=self.keypoints0[rows],
            keypoints1=self.keypoints1[rows],
            scores=self.scores[rows],
            points3d0=None if self.points3d0 is None else self.points3d0[rows],
            points3d1=None if self.points3d1 is None else self.points3d1[rows],
        )

    def spread(self, count: int) -> Matches:
        """At most `count` matches of high score, spread over photo 0, in the order they had."""
        return self.select(spread_selection(self.keypoints0, self.scores, count))

    def save(self, path: str | Path) -> None:
        """Write the matches; the format goes by the suffix: .npz (everything), .json, .csv, .h5.

        Raises:
            InputError: an unknown suffix.
            OutputError: the file cannot be written.
        """
        from .storage import save_matches

        save_matches(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Matches:
        """Read what `save` wrote as .npz, .json or .h5.

        Raises:
            InputError: the file is missing or is something else.
        """
        from .storage import load_matches

        return load_matches(path)
