"""Which pixels of two views show the same point (spec 40 section 3.9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_INT32 = 2.0**31


def reproject(
    points: Float[Tensor, "batch height width 3"],
    intrinsics: Float[Tensor, "batch 3 3"],
    cam2world: Float[Tensor, "batch 4 4"],
    shape: tuple[int, int],
) -> Int[Tensor, "batch pixels"]:
    """The pixel of another view nearest to where each point projects.

    There is no test of depth, validity or side: points outside stick to the image's border, and coordinates
    that do not fit 32 bits become 0, as upstream's casts make them on x86-64.

    Args:
        points: world points.
        intrinsics: of the other view.
        cam2world: of the other view.
        shape: (height, width) of the other view.

    Returns:
        Linear pixel indices, row-major.
    """
    height, width = shape
    projection = intrinsics @ torch.linalg.inv(cam2world)[:, :3]
    flat = points.flatten(1, 2)
    homogeneous = flat @ projection[:, :, :3].transpose(1, 2) + projection[:, None, :, 3]
    pixel = (homogeneous[..., :2] / homogeneous[..., 2:]).round()
    pixel = torch.where(pixel.abs() < _INT32, pixel, 0.0)
    column = pixel[..., 0].clamp(0, width - 1).long()
    row = pixel[..., 1].clamp(0, height - 1).long()
    return column + width * row


def reciprocal_pairs(
    forward: Int[Tensor, "batch pixels1"], backward: Int[Tensor, "batch pixels2"]
) -> Bool[Tensor, "batch pixels1"]:
    """True at pixels of view 1 that come back to themselves: ``backward[forward[i]] == i``."""
    here = torch.arange(forward.shape[1], device=forward.device)
    return backward.gather(1, forward) == here


@dataclass(frozen=True)
class Correspondences:
    """Sampled matches of one pair.

    Attributes:
        xy1, xy2: (x, y) pixels in the two views.
        valid: True for matches, False for negatives (unrelated random pixels).
    """

    xy1: np.ndarray
    xy2: np.ndarray
    valid: np.ndarray


def sample_correspondences(
    forward: np.ndarray,
    is_match1: np.ndarray,
    is_match2: np.ndarray,
    widths: tuple[int, int],
    count: int,
    negatives: float,
    rng: np.random.Generator,
) -> Correspondences:
    """Draw `count` matches and negatives; the order of draws is that of spec 40 section 3.9.

    Args:
        forward: (pixels1,) partner in view 2 of each pixel of view 1.
        is_match1: (pixels1,) True where the partner is a match.
        is_match2: (pixels2,) True at the partners.
        widths: widths of the two views.
        count: matches and negatives together.
        negatives: wanted share of negatives.
        rng: source of the draws.

    Raises:
        ValueError: the images are too small for so many.
    """
    matches = np.flatnonzero(is_match1)
    free1, free2 = len(is_match1) - len(matches), len(is_match2) - int(is_match2.sum())
    n_positive = min(len(matches), int(count * (1 - negatives)))
    n_negative = min(count - n_positive, free1, free2)
    if n_positive + n_negative != count:
        n_positive = count - n_negative
        if n_positive > len(matches):
            raise ValueError(
                f"{count} correspondences wanted, but the pair has {len(matches)} matches and {n_negative} "
                "other pixels: ask for fewer (n_corres)"
            )
    if n_positive < len(matches):
        matches = matches[rng.permutation(len(matches))[:n_positive]]
    index1, index2 = matches, forward[matches]
    if n_negative > 0:
        extra1 = rng.choice(len(is_match1), n_negative, replace=False, p=~is_match1 / free1)
        extra2 = rng.choice(len(is_match2), n_negative, replace=False, p=~is_match2 / free2)
        index1, index2 = np.concatenate([index1, extra1]), np.concatenate([index2, extra2])

    def xy(index: np.ndarray, width: int) -> np.ndarray:
        return np.stack([index % width, index // width], axis=-1).astype(np.int64)

    valid = np.arange(count) < n_positive
    return Correspondences(xy(index1, widths[0]), xy(index2, widths[1]), valid)
