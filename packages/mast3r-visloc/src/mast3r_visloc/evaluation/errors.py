"""How far an estimated pose is from the true one (spec 50 A8)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError

WithoutTruth = Literal["skip", "identity"]
"""Queries without a true pose: not evaluated, or (upstream's way, for parity only) against the identity."""


@dataclass(frozen=True)
class PoseError:
    """Distance of an estimated pose from the true one.

    Attributes:
        position: distance of the camera centres in the map's unit, metres where the map is metric.
        rotation: angle between the orientations, degrees in [0, 180].
    """

    position: float
    rotation: float

    def below(self, threshold: tuple[float, float]) -> bool:
        """Whether both errors are strictly below (position, rotation)."""
        return self.position < threshold[0] and self.rotation < threshold[1]


FAILED = PoseError(math.inf, math.inf)
"""The error of a query that was not localised."""


def pose_error(estimated: Float[np.ndarray, "4 4"], truth: Float[np.ndarray, "4 4"]) -> PoseError:
    """Error of one pose.

    The angle is 2 asin(|R1 - R2| / (2 sqrt 2)), exact near 0 where the arc cosine of a trace is not.

    Args:
        estimated: 4x4 cam2world.
        truth: 4x4 cam2world in the same world.

    Raises:
        InputError: a matrix that is no finite 4x4 one.
    """
    one, other = _matrix(estimated, "the estimated pose"), _matrix(truth, "the true pose")
    chord = np.linalg.norm(one[:3, :3] - other[:3, :3])
    # Rounding may leave the sine of half a turn just above 1.
    half_sine = min(float(chord) / (2 * math.sqrt(2)), 1.0)
    position = float(np.linalg.norm(one[:3, 3] - other[:3, 3]))
    return PoseError(position, math.degrees(2 * math.asin(half_sine)))


def query_error(
    estimated: Float[np.ndarray, "4 4"] | None,
    truth: Float[np.ndarray, "4 4"] | None,
    *,
    without_truth: WithoutTruth = "skip",
) -> PoseError | None:
    """Error of a query, which may have failed and may have no true pose (spec 50 B, trap 16).

    Args:
        estimated: 4x4 cam2world; None if the query was not localised.
        truth: 4x4 cam2world; None if it is not known.
        without_truth: what then counts as the truth.

    Returns:
        `FAILED` for a failure; None where there is nothing to compare with.
    """
    if truth is None:
        if without_truth == "skip":
            return None
        truth = np.eye(4)
    return FAILED if estimated is None else pose_error(estimated, truth)


def _matrix(pose: Float[np.ndarray, "4 4"], what: str) -> Float[np.ndarray, "4 4"]:
    matrix = np.asarray(pose, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError(f"{what} must be a finite 4x4 matrix, got {matrix.tolist()}")
    return matrix
