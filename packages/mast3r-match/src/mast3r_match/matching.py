"""Two photos, or many pairs of them, to matches: the whole way (spec 20)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Unpack

import numpy as np
import torch

from mast3r_model import (
    AsymmetricCroCo3DStereo,
    EncodedImage,
    InputError,
    PairPrediction,
)

from .correspondences import Correspondences
from .matches import Matches
from .options import MatchKeywords, MatchOptions, match_options
from .photos import Mask, Photo, PreparedPhoto, prepare_photo
from .predictions import match_prediction

ENCODED_ON_DEVICE = 64
"""Features of more images than this wait in main memory for their pairs."""


def match_images(
    model: AsymmetricCroCo3DStereo,
    image0: Photo,
    image1: Photo,
    *,
    size: int = 512,
    mask0: Mask | None = None,
    mask1: Mask | None = None,
    options: MatchOptions | None = None,
    **keywords: Unpack[MatchKeywords],
) -> Matches:
    """Match two photos::

        matches = match_images(load_model(), "a.jpg", "b.jpg", max_matches=1000)
        matches.keypoints0, matches.keypoints1      # (n, 2) pixels (x, y) of the photos

    Args:
        model: a network, as `load_model` returns it.
        image0: path, or what `load_image` returns.
        image1: the same.
        size: long side of the network's input in pixels; unused for loaded images.
        mask0: (height, width) of photo 0, False where it may not match; None for everywhere.
        mask1: the same for photo 1.
        options: how to match.
        **keywords: fields of `MatchOptions` that differ from `options`.

    Raises:
        ImageError: a photo that cannot be read.
        InputError: a mask of another size than its photo, or options that mean nothing.
    """
    return next(
        match_pairs(
            model, [image0, image1], [(0, 1)], size=size, masks=[mask0, mask1], options=options, **keywords
        )
    )


def match_pairs(
    model: AsymmetricCroCo3DStereo,
    images: Sequence[Photo],
    pairs: Sequence[tuple[int, int]],
    *,
    size: int = 512,
    masks: Sequence[Mask | None] | None = None,
    batch_size: int = 8,
    options: MatchOptions | None = None,
    made_with: Mapping[str, object] | None = None,
    **keywords: Unpack[MatchKeywords],
) -> Iterator[Matches]:
    """Match many pairs of photos; every photo is encoded once, pairs are decoded in batches.

    Args:
        model: a network.
        images: paths, or what `load_image` returns.
        pairs: indices into `images`.
        size: long side of the network's input in pixels.
        masks: one per image, False where it may not match.
        batch_size: images, and pairs, at a time.
        options: how to match.
        made_with: what to note in the results beside the options, such as the checkpoint's name.
        **keywords: fields of `MatchOptions` that differ from `options`.

    Yields:
        The matches of every pair, in the order of `pairs`.

    Raises:
        ImageError: a photo that cannot be read.
        InputError: pairs or masks that do not fit the images.
    """
    options = match_options(options, keywords)
    check_pairs(pairs, len(images))
    if masks is not None and len(masks) != len(images):
        raise InputError(f"{len(masks)} masks for {len(images)} images: give one for each, or None")
    prepared = [
        prepare_photo(image, mask, size=size, patch_size=model.patch_size)
        for image, mask in zip(images, masks or [None] * len(images), strict=True)
    ]
    noted = {**describe(model, options), **(made_with or {})}
    return _match_prepared(model, prepared, pairs, batch_size, options, noted)


def check_pairs(pairs: Sequence[tuple[int, int]], count: int) -> None:
    """Pairs must name two images each.

    Raises:
        InputError: an index out of range, or an image paired with itself.
    """
    for first, second in pairs:
        if not (0 <= first < count and 0 <= second < count) or first == second:
            raise InputError(f"pair {(first, second)} does not name two of the {count} images")


def describe(model: AsymmetricCroCo3DStereo, options: MatchOptions) -> dict[str, object]:
    """Network, options and version, ready for JSON."""
    return {
        "network": model.config.to_expression(),
        "precision": None if model.precision is None else model.precision.name,
        "options": dataclasses.asdict(options),
        "version": version("mast3r-match"),
    }


@torch.no_grad()
def _match_prepared(
    model: AsymmetricCroCo3DStereo,
    photos: Sequence[PreparedPhoto],
    pairs: Sequence[tuple[int, int]],
    batch_size: int,
    options: MatchOptions,
    made_with: Mapping[str, object],
) -> Iterator[Matches]:
    used = sorted({index for pair in pairs for index in pair})
    features: list[EncodedImage] = []
    for start in range(0, len(used), ENCODED_ON_DEVICE):
        chunk = [photos[index].tensor for index in used[start : start + ENCODED_ON_DEVICE]]
        encoded = model.encode(chunk, batch_size=batch_size)
        features += encoded if len(used) <= ENCODED_ON_DEVICE else [image.to("cpu") for image in encoded]
    rows = {index: row for row, index in enumerate(used)}
    predictions = decode_for_matching(
        model, features, [(rows[first], rows[second]) for first, second in pairs], options, batch_size
    )
    for (first, second), (prediction, reverse) in zip(pairs, predictions, strict=True):
        photo0, photo1 = photos[first], photos[second]
        found = match_prediction(
            prediction, reverse=reverse, options=options, allowed0=photo0.allowed, allowed1=photo1.allowed
        )
        matches = to_original_pixels(found, prediction, photo0, photo1, made_with)
        yield matches if options.max_matches is None else matches.spread(options.max_matches)


@torch.no_grad()
def decode_for_matching(
    model: AsymmetricCroCo3DStereo,
    features: Sequence[EncodedImage],
    pairs: Sequence[tuple[int, int]],
    options: MatchOptions,
    batch_size: int = 8,
) -> Iterator[tuple[PairPrediction, PairPrediction | None]]:
    """The prediction of every pair and, where the options ask for it, that of the pair turned round."""
    if not options.symmetric:
        for prediction in model.decode_pairs(features, pairs, batch_size=batch_size):
            yield prediction, None
        return
    both_ways = [way for first, second in pairs for way in ((first, second), (second, first))]
    decoded = model.decode_pairs(features, both_ways, batch_size=batch_size)
    yield from zip(decoded, decoded, strict=True)


def to_original_pixels(
    found: Correspondences,
    prediction: PairPrediction,
    photo0: PreparedPhoto,
    photo1: PreparedPhoto,
    made_with: Mapping[str, object],
) -> Matches:
    """Matches in network pixels as matches in the photos' pixels, with the 3D points they see."""
    (x0, y0), (x1, y1) = found.xy0.T, found.xy1.T
    return Matches(
        keypoints0=photo0.transform.points_to_original(found.xy0.cpu().numpy().astype(np.float64)),
        keypoints1=photo1.transform.points_to_original(found.xy1.cpu().numpy().astype(np.float64)),
        scores=found.confidence.cpu().numpy(),
        points3d0=prediction.pts3d1[y0, x0].cpu().numpy(),
        points3d1=prediction.pts3d2_in_view1[y1, x1].cpu().numpy(),
        image_shape0=photo0.transform.original_shape,
        image_shape1=photo1.transform.original_shape,
        transform0=photo0.transform,
        transform1=photo1.transform,
        name0=photo0.name,
        name1=photo1.name,
        made_with=made_with,
    )
