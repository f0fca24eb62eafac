"""What a finished scene says about its photos, in the words of the mapper: views, cameras, matches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_match import Correspondences
from mast3r_sfm.canonical import CanonicalView, anchor_grid_shape
from mast3r_sfm.pairs import Pair
from mast3r_sfm.scene import SceneImage, Tracks
from mast3r_sfm.sparse import CameraPriors


def stored_view(image: SceneImage, subsample: int) -> CanonicalView:
    """A placed photo's depth as a canonical view, in WORLD units and with the camera's focal.

    Args:
        image: with depth; where it has none, its median stands in (see `has_depth`).
        subsample: side of an anchor's block in pixels.
    """
    height, width = image.depth.shape
    anchor_grid_shape((height, width), subsample)
    known = image.depth > 0
    depth = np.where(known, image.depth, np.median(image.depth[known]) if known.any() else 1.0)
    half = subsample // 2
    core = depth[half::subsample, half::subsample]
    center = core.repeat(subsample, 0).repeat(subsample, 1)
    K = image.network_intrinsics
    rays = np.stack(
        np.broadcast_arrays(
            (np.arange(width) - K[0, 2]) / K[0, 0], (np.arange(height)[:, None] - K[1, 2]) / K[1, 1], 1.0
        ),
        axis=-1,
    )
    return CanonicalView(
        shape=(height, width),
        principal_point=torch.from_numpy(K[:2, 2].astype(np.float32)),
        focal=_focal(K),
        focal_log_std=0.0,
        pts3d=_float(depth[..., None] * rays),
        relative_depth=_float(depth / center),
        conf=_float(image.confidence),
        core_depth=_float(core),
        subsample=subsample,
    )


def has_depth(image: SceneImage) -> Bool[Tensor, "h w"]:
    """The pixels whose depth may be used: matches of the others say nothing about where a new photo is."""
    return torch.from_numpy((image.depth > 0) & (image.confidence > 0))


def with_stored_cameras(priors: CameraPriors, stored: Sequence[SceneImage | None]) -> CameraPriors:
    """Priors with the cameras of placed photos in place, exactly and in size.

    Args:
        priors: of all photos.
        stored: of each photo, how it was placed; None for those that were not.
    """
    focal, point = priors.focal.clone(), priors.principal_point.clone()
    pose, sized = priors.cam2world.clone(), torch.zeros(len(stored), dtype=torch.bool)
    for number, image in enumerate(stored):
        if image is not None:
            K = image.network_intrinsics
            focal[number], point[number] = _focal(K), torch.from_numpy(K[:2, 2].copy())
            pose[number], sized[number] = torch.from_numpy(image.cam2world.copy()), True
    free = (~sized).double()
    return CameraPriors.build(
        len(stored),
        focal=focal,
        focal_sigma=priors.focal_sigma * free,
        principal_point=point,
        principal_point_sigma=priors.principal_point_sigma * free,
        cam2world=pose,
        rotation_sigma=priors.rotation_sigma * free,
        translation_sigma=priors.translation_sigma * free,
        scale_known=sized,
    )


def stored_matches(images: Sequence[SceneImage], tracks: Tracks) -> dict[Pair, Correspondences]:
    """The observations of tracks as matches between one photo and the next that sees the point.

    Args:
        images: placed.
        tracks: theirs.

    Returns:
        Matches in network pixels, by pair of numbers of images.
    """
    order = np.lexsort((tracks.image, tracks.track))
    image, track = tracks.image[order], tracks.track[order]
    xy = _network_pixels(images, image, tracks.xy[order])
    follows = (track[1:] == track[:-1]) & (image[1:] != image[:-1])
    first = np.flatnonzero(follows)
    by_pair = first[np.lexsort((image[first + 1], image[first]))]
    ends = np.stack([image[by_pair], image[by_pair + 1]], axis=1)
    starts = np.flatnonzero(np.r_[True, (ends[1:] != ends[:-1]).any(1)][: len(ends)])
    return {
        (int(image[own[0]]), int(image[own[0] + 1])): Correspondences(
            torch.from_numpy(xy[own]), torch.from_numpy(xy[own + 1]), torch.ones(len(own))
        )
        for own in np.split(by_pair, starts[1:])
        if len(own)
    }


def _network_pixels(
    images: Sequence[SceneImage], image: np.ndarray, xy: Float[np.ndarray, "m 2"]
) -> np.ndarray:
    to_network = np.array([one.transform.network_from_original for one in images])[image]
    moved = to_network[:, [0, 1], [0, 1]] * xy + to_network[:, :2, 2]
    return np.round(moved).astype(np.int64)


def _focal(K: Float[np.ndarray, "3 3"]) -> float:
    return float(np.sqrt(K[0, 0] * K[1, 1]))


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
