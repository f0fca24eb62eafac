"""Coarse to fine: match the whole photos, then again the windows that show the same (spec 20 section 7.7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_match.matches import Matches
from mast3r_match.matching import decode_for_matching, describe, to_original_pixels
from mast3r_match.options import MatchKeywords, MatchOptions, match_options
from mast3r_match.photos import prepare_photo
from mast3r_match.predictions import match_prediction
from mast3r_match.selection import away_from_border
from mast3r_model import AsymmetricCroCo3DStereo, ImageTransform, LoadedImage, PairPrediction, load_image

from .crops import WorkingPhoto, cut_window, working_photo
from .selection import WindowPair, select_windows


@dataclasses.dataclass(frozen=True)
class FineMatches:
    """Matches of one pair of windows, in pixels of the working photos."""

    points0: Float[np.ndarray, "n 2"]
    points1: Float[np.ndarray, "n 2"]
    scores: Float[np.ndarray, " n"]


def match_coarse_to_fine(
    model: AsymmetricCroCo3DStereo,
    image0: str | Path | LoadedImage,
    image1: str | Path | LoadedImage,
    *,
    size: int = 512,
    max_image_size: int | None = None,
    overlap: float = 0.5,
    mask0: Bool[np.ndarray, "H0 W0"] | None = None,
    mask1: Bool[np.ndarray, "H1 W1"] | None = None,
    intrinsics0: Float[np.ndarray, "3 3"] | None = None,
    intrinsics1: Float[np.ndarray, "3 3"] | None = None,
    batch_size: int = 8,
    options: MatchOptions | None = None,
    made_with: Mapping[str, object] | None = None,
    **keywords: Unpack[MatchKeywords],
) -> Matches:
    """Match two photos of any size at their own resolution.

    The photos are matched whole first; windows of the network's size that cover those matches are matched
    again, pixel for pixel. Photos not larger than the network's input get the coarse matches. The 3D points
    are those of the whole photos' pass at the nearest pixel, NaN where that pass did not look.

    Args:
        model: a network, as `load_model` returns it.
        image0: path, or what `load_image` returns.
        image1: the same.
        size: long side of the network's input in pixels; unused for loaded images, which have one.
        max_image_size: photos with a longer side are shrunk to this before windows are cut; None for never.
        overlap: least overlap of neighbouring windows.
        mask0: (height, width) of photo 0, False where it may not match.
        mask1: the same for photo 1.
        intrinsics0: 3x3 of photo 0 in its own pixels: its windows are then rectified, as seen by a camera
            turned towards them; None for plain crops.
        intrinsics1: the same for photo 1.
        batch_size: images, and pairs of windows, at a time.
        options: how to match.
        made_with: what to note in the result beside the options.
        **keywords: fields of `MatchOptions` that differ from `options`.

    Raises:
        ImageError: a photo that cannot be read.
        InputError: a mask of another size than its photo, or options that mean nothing.
    """
    chosen = match_options(options, keywords)
    photos = [
        image if isinstance(image, LoadedImage) else load_image(image, size, patch_size=model.patch_size)
        for image in (image0, image1)
    ]
    noted = {**describe(model, chosen), **(made_with or {})}
    coarse, prediction = _match_whole(model, photos, [mask0, mask1], chosen, noted)
    working = [
        working_photo(photo, max_size=max_image_size, mask=mask, intrinsics=intrinsics)
        for photo, mask, intrinsics in zip(photos, (mask0, mask1), (intrinsics0, intrinsics1), strict=True)
    ]
    if all(photo.network_sees_it_all for photo in working):
        return _limited(coarse, chosen.max_matches)
    windows = select_windows(
        working[0].shape,
        working[1].shape,
        working[0].transform.points_to_network(coarse.keypoints0),
        working[1].transform.points_to_network(coarse.keypoints1),
        max_size=min(photo.network_long_side for photo in working),
        overlap=overlap,
        forced_resolution=[photo.network_shape for photo in working],
    )
    found = list(_match_windows(model, working, list(windows), chosen, batch_size))
    fine = _join(found, working, coarse, prediction)
    noted["coarse_to_fine"] = {"windows": len(found), "overlap": overlap, "max_image_size": max_image_size}
    return _limited(dataclasses.replace(fine, made_with=noted), chosen.max_matches)


@torch.no_grad()
def _match_whole(
    model: AsymmetricCroCo3DStereo,
    photos: Sequence[LoadedImage],
    masks: Sequence[np.ndarray | None],
    options: MatchOptions,
    made_with: Mapping[str, object],
) -> tuple[Matches, PairPrediction]:
    """Matches of the whole photos, and the prediction that they come from."""
    photo0, photo1 = (
        prepare_photo(photo, mask, size=0, patch_size=model.patch_size)
        for photo, mask in zip(photos, masks, strict=True)
    )
    features = model.encode([photo0.tensor, photo1.tensor])
    prediction, reverse = next(decode_for_matching(model, features, [(0, 1)], options))
    found = match_prediction(
        prediction, reverse=reverse, options=options, allowed0=photo0.allowed, allowed1=photo1.allowed
    )
    return to_original_pixels(found, prediction, photo0, photo1, made_with), prediction


@torch.no_grad()
def _match_windows(
    model: AsymmetricCroCo3DStereo,
    working: Sequence[WorkingPhoto],
    windows: Sequence[WindowPair],
    options: MatchOptions,
    batch_size: int,
) -> Iterator[FineMatches]:
    """Match pairs of windows, a batch at a time; a window in several pairs of a batch is encoded once.

    With ``options.symmetric`` each pair is decoded both ways, as that of the whole photos is.
    """
    for start in range(0, len(windows), batch_size):
        batch = windows[start : start + batch_size]
        keys = [(0, pair.window1) for pair in batch] + [(1, pair.window2) for pair in batch]
        rows = {key: row for row, key in enumerate(dict.fromkeys(keys))}
        crops = [cut_window(working[side], window) for side, window in rows]
        features = model.encode([crop.tensor for crop in crops], batch_size=batch_size)
        pairs = [(rows[0, pair.window1], rows[1, pair.window2]) for pair in batch]
        predictions = decode_for_matching(model, features, pairs, options, batch_size)
        for (first, second), (prediction, reverse) in zip(pairs, predictions, strict=True):
            crop0, crop1 = crops[first], crops[second]
            found = match_prediction(
                prediction, reverse=reverse, options=options, allowed0=crop0.allowed, allowed1=crop1.allowed
            )
            yield FineMatches(
                crop0.to_working(found.xy0.cpu().numpy()),
                crop1.to_working(found.xy1.cpu().numpy()),
                found.confidence.cpu().numpy(),
            )


def _join(
    found: Sequence[FineMatches],
    working: Sequence[WorkingPhoto],
    coarse: Matches,
    prediction: PairPrediction,
) -> Matches:
    """The windows' matches, each once, in the photos' pixels, with the points of the whole photos' pass."""
    points0 = np.concatenate([part.points0 for part in found] or [np.empty((0, 2))])
    points1 = np.concatenate([part.points1 for part in found] or [np.empty((0, 2))])
    scores = np.concatenate([part.scores for part in found] or [np.empty(0)])
    # A rectified window may look beyond its photo.
    kept = _on(points0, working[0].shape) & _on(points1, working[1].shape)
    points0, points1, scores = points0[kept], points1[kept], scores[kept]
    best_first = np.argsort(-scores, kind="stable")
    both = np.concatenate([points0, points1], axis=1)[best_first]
    rows = np.sort(best_first[np.unique(both, axis=0, return_index=True)[1]])
    keypoints0 = working[0].transform.points_to_original(points0[rows])
    keypoints1 = working[1].transform.points_to_original(points1[rows])
    return dataclasses.replace(
        coarse,
        keypoints0=keypoints0,
        keypoints1=keypoints1,
        scores=scores[rows],
        transform0=working[0].transform,
        transform1=working[1].transform,
        points3d0=_points_seen(prediction.pts3d1, coarse.transform0, keypoints0),
        points3d1=_points_seen(prediction.pts3d2_in_view1, coarse.transform1, keypoints1),
    )


def _points_seen(
    pts3d: Float[Tensor, "h w 3"], transform: ImageTransform | None, keypoints: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n 3"]:
    """The point map's value at the pixel nearest to each keypoint, NaN beyond the map."""
    assert transform is not None
    x, y = np.round(transform.points_to_network(keypoints)).astype(np.int64).T
    height, width = pts3d.shape[:2]
    points = pts3d.cpu().numpy()[y.clip(0, height - 1), x.clip(0, width - 1)]
    points[(x < 0) | (x >= width) | (y < 0) | (y >= height)] = np.nan
    return points


def _on(points: Float[np.ndarray, "n 2"], shape: tuple[int, int]) -> Bool[np.ndarray, " n"]:
    return away_from_border(points + 0.5, shape, 0)


def _limited(matches: Matches, max_matches: int | None) -> Matches:
    return matches if max_matches is None else matches.spread(max_matches)
