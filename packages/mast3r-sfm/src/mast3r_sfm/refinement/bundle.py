"""A group of images and its tracks in the coordinates of bundle adjustment.

There an image's pixels are of the network's size, square, and (0, 0) is the principal point: only a focal
length is left of the intrinsics, and errors of photos of any size compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from mast3r_sfm.colmap.adjustment import BundleCameras, BundleObservations
from mast3r_sfm.rays import Observations, Views, midpoints, refined_points, reprojection_errors
from mast3r_sfm.scene import SceneImage, Tracks

TRIANGULATION_STEPS = 10


@dataclass(frozen=True, eq=False)
class Bundle:
    """Images, tracks, and both in adjustment coordinates.

    Attributes:
        images: of one group.
        tracks: theirs; `Tracks.image` counts in ``images``.
        cameras: the images' cameras as they are now.
        xy: (m, 2) the tracks' observations.
    """

    images: tuple[SceneImage, ...]
    tracks: Tracks
    cameras: BundleCameras
    xy: Float[np.ndarray, "m 2"]

    @classmethod
    def of(cls, images: Sequence[SceneImage], tracks: Tracks, *, shared_intrinsics: bool) -> Bundle:
        """Bring a group into adjustment coordinates.

        Args:
            images: of one group.
            tracks: whose images count in ``images``.
            shared_intrinsics: images of equal size and intrinsics keep equal focal lengths.
        """
        K = np.array([image.intrinsics for image in images]).reshape(-1, 3, 3)
        focals = K[:, [0, 1], [0, 1]]
        mean = np.sqrt(focals.prod(1))
        resize = np.array([image.transform.network_from_original[:2, :2] for image in images])
        size = np.sqrt(np.abs(np.linalg.det(resize)))
        scale = (size * mean)[:, None] / focals
        keys = [(image.original_shape, np.round(image.intrinsics, 6).tobytes()) for image in images]
        lens = [keys.index(key) for key in keys] if shared_intrinsics else list(range(len(images)))
        world2cam = np.array([image.world2cam for image in images]).reshape(-1, 4, 4)
        cameras = BundleCameras(size * mean, world2cam, np.array(lens, np.int64))
        seen = tracks.image
        return cls(tuple(images), tracks, cameras, scale[seen] * (tracks.xy - K[seen, :2, 2]))

    def observations(self, kept: Bool[np.ndarray, " m"]) -> tuple[Observations, Int[np.ndarray, " t"]]:
        """Some observations with their tracks renumbered, and the tracks' old numbers."""
        numbers, track = np.unique(self.tracks.track[kept], return_inverse=True)
        return Observations(track, self.tracks.image[kept], self.xy[kept], np.flatnonzero(kept)), numbers

    def well_seen(self, least: int) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " m"]]:
        """Images with enough observations, and the observations of tracks that two or more of them see."""
        observations = np.ones(len(self.tracks.track), bool)
        images = np.ones(len(self.images), bool)
        while True:
            counts = np.bincount(self.tracks.image[observations], minlength=len(images))
            fewer = images & (counts >= least)
            observations = seen_twice(self.tracks, fewer[self.tracks.image])
            if (fewer == images).all():
                return images, observations
            images = fewer

    def views(self, cameras: BundleCameras) -> Views:
        """Cameras as the triangulation takes them."""
        centres = np.linalg.inv(cameras.world2cam)[:, :3, 3]
        return Views(cameras.projections(), centres, np.zeros(len(centres), np.int64))

    def held_out_error(
        self, cameras: BundleCameras, observations: Bool[np.ndarray, " m"], limit: float
    ) -> float:
        """Mean error of observations after triangulating their tracks anew, each clipped to twice a limit."""
        observed, numbers = self.observations(observations)
        views = self.views(cameras)
        start = midpoints(observed, views, len(numbers))
        points = refined_points(start, observed, views, limit, TRIANGULATION_STEPS)
        return float(np.minimum(reprojection_errors(points, observed, views), 2 * limit).mean())

    def to_adjust(
        self, images: Bool[np.ndarray, " n"], observations: Bool[np.ndarray, " m"]
    ) -> tuple[BundleCameras, BundleObservations]:
        """What `adjust_bundle` takes of some images and observations."""
        observed, numbers = self.observations(observations)
        row = np.cumsum(images) - 1
        _, lens = np.unique(self.cameras.lens[images], return_inverse=True)
        cameras = BundleCameras(self.cameras.focal[images], self.cameras.world2cam[images], lens)
        return cameras, BundleObservations(
            self.tracks.positions[numbers], observed.track, row[observed.image], observed.xy
        )

    def with_adjusted(self, images: Bool[np.ndarray, " n"], adjusted: BundleCameras) -> BundleCameras:
        """All cameras, some of them adjusted; who shares a lens with one of those follows it."""
        focal, world2cam = self.cameras.focal.copy(), self.cameras.world2cam.copy()
        focal[images], world2cam[images] = adjusted.focal, adjusted.world2cam
        for index in np.flatnonzero(~images):
            alike = images & (self.cameras.lens == self.cameras.lens[index])
            focal[index] = focal[alike][0] if alike.any() else focal[index]
        return replace(self.cameras, focal=focal, world2cam=world2cam)


def seen_twice(tracks: Tracks, kept: Bool[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
    """Of the observations kept, those whose track two or more images still see."""
    stride = int(tracks.image.max(initial=0)) + 1
    seen = np.unique(tracks.track[kept] * stride + tracks.image[kept]) // stride
    counts = np.bincount(seen, minlength=len(tracks))
    return kept & (counts[tracks.track] >= 2)
