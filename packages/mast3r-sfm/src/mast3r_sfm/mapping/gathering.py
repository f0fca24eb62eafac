"""What all mappers need of the predictions, in one pass over them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_match import Correspondences
from mast3r_sfm.canonical import CanonicalAccumulator, CanonicalView
from mast3r_sfm.pairs import Pair
from mast3r_sfm.photos import ImageSet, SourceImage
from mast3r_sfm.predictions import TwoViewPrediction
from mast3r_sfm.progress import Progress, shown
from mast3r_sfm.sparse import CrossPointmap, connected_components
from mast3r_sfm.verification import PairCheck, check_pairs


@dataclass(frozen=True, eq=False)
class Gathered:
    """Canonical views and matches of a set of images, numbered as there.

    Attributes:
        views: of every image; None for those in no pair.
        matches: of every pair that shows the same place.
        checks: of every pair that was verified, also of those that failed.
        cross_pointmaps: of pairs that do not match well enough, by (image, frame).
    """

    views: tuple[CanonicalView | None, ...]
    matches: dict[Pair, Correspondences]
    checks: dict[Pair, PairCheck]
    cross_pointmaps: dict[Pair, CrossPointmap]

    def groups(self) -> list[list[int]]:
        """Images connected by matches, the largest group first; an image alone is a group of one."""
        counts = torch.zeros(len(self.views), len(self.views), dtype=torch.int64)
        for (i, j), found in self.matches.items():
            counts[i, j] = counts[j, i] = len(found.confidence)
        return connected_components(counts)

    def why_alone(self, image: int) -> str:
        """Why an image is in a group of its own, for people."""
        if self.views[image] is None:
            return "it is in no pair"
        checks = [check for pair, check in self.checks.items() if image in pair]
        if not checks:
            return "it matches no other photo"
        best = max(checks, key=lambda check: check.share)
        return (
            "its matches with other photos fit no common geometry "
            f"({best.share:.0%} of the best pair's, {int(best.inliers.sum())})"
        )

    def within(self, group: list[int]) -> dict[Pair, Correspondences]:
        """Matches among the images of a group, by their places in it."""
        row = {number: k for k, number in enumerate(group)}
        return {(row[i], row[j]): found for (i, j), found in self.matches.items() if i in row and j in row}


def gather(
    images: ImageSet,
    predictions: Collection[TwoViewPrediction],
    *,
    subsample: int = 8,
    verify: bool = True,
    matching_confidence: float = 0.0,
    upstream_centers: bool = False,
    progress: Progress | None = None,
) -> Gathered:
    """Average canonical views, collect matches; only one prediction is in memory at a time.

    Args:
        images: that the predictions are of.
        predictions: of all pairs.
        subsample: side of an anchor's block in pixels.
        verify: keep only pairs whose matches agree with one epipolar geometry.
        matching_confidence: the cross pointmaps of pairs whose best match is not above this are kept.
        upstream_centers: expect principal points at (w / 2, h / 2), half a pixel off (spec 30 section 1);
            else at the centre of the photo.
        progress: shows bars.
    """
    centers = [None if upstream_centers else photo_center(image) for image in images]
    sums = [
        CanonicalAccumulator(image.shape, subsample, principal_point=center)
        for image, center in zip(images, centers, strict=True)
    ]
    matches: dict[Pair, Correspondences] = {}
    cross: dict[Pair, CrossPointmap] = {}
    with shown(progress, "gathering views", len(predictions)) as advance:
        for prediction in predictions:
            i, j = prediction.image0, prediction.image1
            sums[i].add(prediction.pts3d_00, prediction.conf_00)
            sums[j].add(prediction.pts3d_11, prediction.conf_11)
            found = prediction.matches
            if len(found.confidence):
                matches[i, j] = found
                if float(found.confidence.max()) <= matching_confidence:
                    cross[j, i] = CrossPointmap.sample(
                        prediction.pts3d_10, prediction.conf_10, subsample=subsample
                    )
                    cross[i, j] = CrossPointmap.sample(
                        prediction.pts3d_01, prediction.conf_01, subsample=subsample
                    )
            advance(1)
    views = tuple(image_sums.finish() if image_sums.count else None for image_sums in sums)
    long_side = max(max(image.shape) for image in images)
    checks = check_pairs(matches, long_side, progress=progress) if verify else {}
    kept = {
        pair: _agreeing(found, checks.get(pair))
        for pair, found in matches.items()
        if pair not in checks or checks[pair].passed
    }
    return Gathered(views, kept, checks, cross)


def _agreeing(found: Correspondences, check: PairCheck | None) -> Correspondences:
    """The matches that fit the pair's geometry."""
    if check is None:
        return found
    keep = check.inliers
    return Correspondences(found.xy0[keep], found.xy1[keep], found.confidence[keep])


def photo_center(image: SourceImage) -> Float[Tensor, " 2"]:
    """The middle of the whole photo in network pixels, which crops and borders move."""
    height, width = image.transform.original_shape
    middle = np.array([[(width - 1) / 2, (height - 1) / 2]])
    return torch.from_numpy(image.transform.points_to_network(middle)[0]).float()
