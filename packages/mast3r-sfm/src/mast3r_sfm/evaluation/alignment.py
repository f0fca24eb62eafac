"""Similarities between two worlds: a reconstruction's and the true one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

COLLINEAR = 1e-4
"""Centres whose second extent is smaller than this share of the first fix no rotation about their line."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """Maps a point x to ``scale * rotation @ x + translation``.

    Attributes:
        scale: positive.
        rotation: 3x3.
        translation: (3,).
    """

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, " 3"]

    def apply(self, points: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Move points."""
        return self.scale * points @ self.rotation.T + self.translation

    def apply_to_cameras(self, cam2world: Float[np.ndarray, "*batch 4 4"]) -> Float[np.ndarray, "*batch 4 4"]:
        """Move camera poses; they stay rigid."""
        moved = np.array(cam2world, dtype=np.float64)
        moved[..., :3, :3] = self.rotation @ cam2world[..., :3, :3]
        moved[..., :3, 3] = self.apply(cam2world[..., :3, 3])
        return moved


def umeyama(source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]) -> Similarity:
    """The similarity that brings points nearest to others in the sense of least squares.

    Args:
        source: at least three points that lie on no line.
        target: where they should go.
    """
    mean_source, mean_target = source.mean(0), target.mean(0)
    a, b = source - mean_source, target - mean_target
    U, D, Vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    rotation = (U * sign) @ Vt
    scale = float((D * sign).sum() / max((a**2).sum(), 1e-300))
    return Similarity(scale, rotation, mean_target - scale * rotation @ mean_source)


def mean_rotation(
    source: Float[np.ndarray, "n 3 3"], target: Float[np.ndarray, "n 3 3"]
) -> Float[np.ndarray, "3 3"]:
    """The rotation R that brings rotations R @ source nearest to others (chordal mean)."""
    U, _, Vt = np.linalg.svd(np.einsum("nij,nkj->ik", target, source))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    return (U * sign) @ Vt


def align_cameras(source: Float[np.ndarray, "n 4 4"], target: Float[np.ndarray, "n 4 4"]) -> Similarity:
    """The similarity between the worlds of two sets of the same cameras, from their centres.

    Centres on one line (two cameras, say) do not fix it; there the rotation is that of `mean_rotation`.

    Args:
        source: cam2world, at least one.
        target: cam2world in the other world.
    """
    centres, true_centres = source[:, :3, 3], target[:, :3, 3]
    extents = [np.linalg.svd(c - c.mean(0), compute_uv=False) for c in (centres, true_centres)]
    if len(centres) >= 3 and all(extent[1] > COLLINEAR * extent[0] for extent in extents):
        return umeyama(centres, true_centres)
    rotation = mean_rotation(source[:, :3, :3], target[:, :3, :3])
    turned = (centres - centres.mean(0)) @ rotation.T
    spread = float((turned**2).sum())
    scale = float((turned * (true_centres - true_centres.mean(0))).sum()) / spread if spread > 0 else 1.0
    scale = scale if scale > 0 else 1.0
    return Similarity(scale, rotation, true_centres.mean(0) - scale * rotation @ centres.mean(0))
