"""Matching photos again, window by window, as upstream does (spec 50 A6.3 to A6.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from mast3r_match import select_windows
from mast3r_model import InputError

from .capping import CappedPhoto
from .crops import Crop, Window, homography_crop, plain_crop
from .map_matches import MapMatches
from .matching import match_known_points
from .network import PairPredictor
from .options import ReferenceOptions
from .resizing import resize_plan

OVERLAP = 0.5


def match_finely(
    network: PairPredictor,
    query: CappedPhoto,
    map_image: CappedPhoto,
    coarse_query_xy: Float[np.ndarray, "n 2"],
    coarse_map_xy: Float[np.ndarray, "n 2"],
    *,
    maxdim: int,
    options: ReferenceOptions,
) -> MapMatches:
    """Match the windows of two photos that show the same.

    Args:
        network: what describes windows.
        query: the query.
        map_image: a map image, with its points.
        coarse_query_xy: (n, 2) pixels of the query's photo that the whole images' pass matched.
        coarse_map_xy: (n, 2) their partners in the map image's photo.
        maxdim: longest side of the network's input.
        options: how to cut and match.

    Returns:
        The windows' matches one after the other. What lies in two windows is there twice (trap 6).

    Raises:
        InputError: an image smaller than a window (trap 9).
    """
    windows = _windows(query, map_image, coarse_query_xy, coarse_map_xy, maxdim)
    parts: list[MapMatches] = []
    for start in range(0, len(windows), options.max_batch_size):
        chunk = windows[start : start + options.max_batch_size]
        parts += _match_windows(network, query, map_image, chunk, options)
    return MapMatches.concatenate(parts)


def _windows(
    query: CappedPhoto,
    map_image: CappedPhoto,
    coarse_query_xy: Float[np.ndarray, "n 2"],
    coarse_map_xy: Float[np.ndarray, "n 2"],
    maxdim: int,
) -> Sequence[tuple[Window, Window]]:
    """Windows of the map image and of the query, in the order in which they were chosen."""
    photos = map_image, query
    try:
        return [
            (pair.window1, pair.window2)
            for pair in select_windows(
                map_image.shape,
                query.shape,
                map_image.from_photo(coarse_map_xy),
                query.from_photo(coarse_query_xy),
                max_size=maxdim,
                overlap=OVERLAP,
                forced_resolution=[resize_plan(photo.shape, maxdim).shape for photo in photos],
            )
        ]
    except InputError as error:
        sizes = " or ".join(f"{photo.name} ({photo.shape[1]}x{photo.shape[0]})" for photo in photos)
        raise InputError(
            f"coarse to fine, as upstream does it, needs photos that hold a window of {maxdim} pixels: "
            f"{sizes} does not",
            hint="leave out --parity, which matches such pairs whole, or --coarse_to_fine",
        ) from error


def _match_windows(
    network: PairPredictor,
    query: CappedPhoto,
    map_image: CappedPhoto,
    windows: Sequence[tuple[Window, Window]],
    options: ReferenceOptions,
) -> Iterator[MapMatches]:
    """One batch of pairs of windows."""
    turned = options.c2f_crop_with_homography
    map_crops = [_cut(map_image, window, turned=turned) for window, _ in windows]
    query_crops = [_cut(query, window, turned=turned) for _, window in windows]
    batches = (
        torch.stack([crop.image.permute(2, 0, 1) for crop in crops]) for crops in (query_crops, map_crops)
    )
    described = network.describe(*batches)
    for query_crop, map_crop, (of_query, of_map) in zip(query_crops, map_crops, described, strict=True):
        assert map_crop.points is not None
        found = match_known_points(of_query, of_map, map_crop.points, options.pixel_tol)
        yield MapMatches(
            query.in_photo(query_crop.in_photo(found.query_xy)),
            map_image.in_photo(map_crop.in_photo(found.map_xy)),
            found.xyz,
            found.confidence,
        )


def _cut(photo: CappedPhoto, window: Window, *, turned: bool) -> Crop:
    if turned:
        return homography_crop(photo.image, window, photo.intrinsics, photo.points)
    return plain_crop(photo.image, window, photo.points)
