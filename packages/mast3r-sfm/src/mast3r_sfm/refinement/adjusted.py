"""New cameras for a bundle, where what is known stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from mast3r_sfm.colmap.adjustment import BundleCameras, adjust_bundle
from mast3r_sfm.evaluation.alignment import Similarity, align_cameras
from mast3r_sfm.known_cameras import KnownCameras
from mast3r_sfm.scene import SceneImage

from .bundle import Bundle
from .results import RefinementOptions


@dataclass(frozen=True, eq=False)
class FixedCameras:
    """Which images' cameras stay.

    Focal lengths that are known only about stay as the alignment left them, which has weighed what is known
    against what it saw; the adjustment knows no priors, and photos of a flat scene hardly fix a focal length.
    """

    focals: Bool[np.ndarray, " n"]
    poses: Bool[np.ndarray, " n"]

    def with_all_focals(self) -> FixedCameras:
        """The same with all focal lengths fixed."""
        return FixedCameras(np.ones_like(self.focals), self.poses)

    @classmethod
    def of(cls, images: Sequence[SceneImage], known: KnownCameras | None) -> FixedCameras:
        names = [image.name for image in images]
        focals, poses = np.zeros((2, len(names)), bool)
        if known is not None:
            if known.shared_intrinsics is not None:
                focals[:] = True
            elif known.intrinsics is not None:
                is_known = np.isfinite(known.intrinsics.intrinsics).all((1, 2))
                found = known.intrinsics.find(names)
                focals = np.array([row is not None and bool(is_known[row]) for row in found])
            focals = focals | np.array([name in known.likely_focals for name in names], bool)
        exact = known is not None and known.rotation_sigma == known.translation_sigma == 0
        if known is not None and known.poses is not None and exact:
            poses = np.array([found is not None for found in known.poses.find(names)])
        return cls(focals, poses)


def adjusted_cameras(
    bundle: Bundle,
    images: Bool[np.ndarray, " n"],
    observations: Bool[np.ndarray, " m"],
    fixed: FixedCameras,
    options: RefinementOptions,
) -> BundleCameras:
    """All cameras after an adjustment on some observations, back in the old world's place and scale."""
    images = images & (np.bincount(bundle.tracks.image[observations], minlength=len(images)) > 0)
    cameras, observed = bundle.to_adjust(images, observations)
    adjusted = adjust_bundle(
        cameras,
        observed,
        fixed_poses=fixed.poses[images],
        fixed_focals=fixed.focals[images],
        loss_scale=options.loss_scale,
        iterations=options.iterations,
        threads=options.threads,
    )
    back = _way_back(adjusted, cameras, fixed.poses[images])
    if back is not None:
        placed = back.apply_to_cameras(np.linalg.inv(adjusted.world2cam))
        world2cam = np.linalg.inv(placed)
        world2cam[fixed.poses[images]] = cameras.world2cam[fixed.poses[images]]
        adjusted = replace(adjusted, world2cam=world2cam)
    return bundle.with_adjusted(images, adjusted)


def _way_back(
    after: BundleCameras, before: BundleCameras, fixed: Bool[np.ndarray, " n"]
) -> Similarity | None:
    """What brings adjusted cameras nearest to where they were, as far as known poses leave that open."""
    source, target = np.linalg.inv(after.world2cam), np.linalg.inv(before.world2cam)
    if not fixed.any():
        return align_cameras(source, target)
    if fixed.sum() > 1:
        return None
    centre = target[fixed][0, :3, 3]
    a, b = source[:, :3, 3] - centre, target[:, :3, 3] - centre
    scale = float((a * b).sum() / max((a**2).sum(), 1e-300))
    return Similarity(scale, np.eye(3), (1 - scale) * centre) if scale > 0 else None
