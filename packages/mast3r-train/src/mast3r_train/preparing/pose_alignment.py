"""Two sets of poses of the same frames, in two worlds: how they fit (spec 41 sections 13 and 14)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

_LEAST_DISTANCE = 0.1
"""Share of the median distance between two cameras from which on a distance tells the scale."""

_SPREAD_QUANTILE = 0.75


@dataclass(frozen=True, eq=False)
class Alignment:
    """From a stored world to the wanted one.

    Attributes:
        factor: of lengths.
        rotation: of the world.
        translation: in the wanted unit.
        spread: relative deviation from ``factor`` that three of four distances keep; 0 if it was given.
        degrees: median angle between the poses after the alignment.
    """

    factor: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, " 3"]
    spread: float
    degrees: float

    def cam2world(self, stored: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        """A stored pose in the wanted world."""
        moved = np.eye(4)
        moved[:3, :3] = self.rotation @ stored[:3, :3]
        moved[:3, 3] = self.factor * self.rotation @ stored[:3, 3] + self.translation
        return moved


def align_poses(
    stored: Float[np.ndarray, "n 4 4"], wanted: Float[np.ndarray, "n 4 4"], *, factor: float | None = None
) -> Alignment:
    """Fit a world to another by the cameras in both; a few wrong poses do not matter.

    Args:
        stored: cam2world.
        wanted: cam2world of the same frames.
        factor: of lengths, if it is known; default: median ratio of distances between cameras.

    Raises:
        ValueError: the cameras do not move, so that there is no factor.
    """
    spread = 0.0
    if factor is None:
        ratios = _ratios(stored[:, :3, 3], wanted[:, :3, 3])
        factor = float(np.median(ratios))
        spread = float(np.quantile(np.abs(ratios / factor - 1), _SPREAD_QUANTILE))
    turns = wanted[:, :3, :3] @ stored[:, :3, :3].transpose(0, 2, 1)
    rotation = Rotation.from_matrix(_proper(turns.mean(axis=0))).as_matrix()
    rest = rotation.T @ turns
    degrees = float(np.median(np.degrees(Rotation.from_matrix(rest).magnitude())))
    translation = np.median(wanted[:, :3, 3] - factor * stored[:, :3, 3] @ rotation.T, axis=0)
    return Alignment(factor, rotation, translation, spread, degrees)


def _ratios(stored: Float[np.ndarray, "n 3"], wanted: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " m"]:
    """Wanted to stored distance of any two cameras that are apart, in one of the worlds at least."""
    first, second = np.triu_indices(len(stored), 1)
    lengths = [np.linalg.norm(centers[first] - centers[second], axis=1) for centers in (wanted, stored)]
    if not all(length.any() for length in lengths):
        raise ValueError("the cameras do not move")
    far = np.any([length > _LEAST_DISTANCE * np.median(length[length > 0]) for length in lengths], axis=0)
    ratios: np.ndarray = lengths[0][far] / np.maximum(lengths[1][far], np.finfo(np.float64).tiny)
    return ratios


def _proper(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The nearest rotation."""
    u, _, vt = np.linalg.svd(matrix)
    rotation: np.ndarray = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return rotation
