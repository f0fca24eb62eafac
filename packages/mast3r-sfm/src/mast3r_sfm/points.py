"""The cloud of a scene: the pixels whose depth is sure enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .scene import PointCloud, SceneImage
from .thinning import thinned

USUAL_CONFIDENCE = 1.5
"""Upstream's threshold for points."""

FEW_ABOVE = 0.25
"""Of the pixels above the median confidence, where it should be half."""


def automatic_confidence(images: Sequence[SceneImage]) -> float:
    """The threshold for points: 1.5 where a tenth of all pixels is above it, else the median confidence.

    Networks differ in how sure they call themselves: hardly a pixel of ``nano`` comes to 1.5. Where so many
    pixels share the median, such as a network's least confidence, that few are above it, they are shown too.
    """
    confidence = np.concatenate([image.confidence[image.confidence > 0] for image in images])
    if not len(confidence) or np.mean(confidence > USUAL_CONFIDENCE) >= 0.1:
        return USUAL_CONFIDENCE
    median = np.median(confidence)
    if np.mean(confidence > median) < FEW_ABOVE:
        median = np.nextafter(median, np.float32(0))
    return float(median)


def confident_points(
    images: Sequence[SceneImage], min_confidence: float, max_points: int | None = None
) -> PointCloud:
    """The pixels above a confidence as one cloud of world points.

    Args:
        images: with depth.
        min_confidence: points must be above it.
        max_points: of more, so many are kept, see `thinned`; None keeps all.
    """
    kept = [image.confidence > min_confidence for image in images]
    if max_points is not None:
        kept = thinned(kept, [image.confidence for image in images], max_points)
    return PointCloud(
        positions=np.concatenate([image.pts3d()[keep] for image, keep in zip(images, kept, strict=True)]),
        colors=np.concatenate([image.color[keep] for image, keep in zip(images, kept, strict=True)]),
        confidence=np.concatenate([image.confidence[keep] for image, keep in zip(images, kept, strict=True)]),
        component=np.repeat([image.component for image in images], [int(keep.sum()) for keep in kept]),
    )
