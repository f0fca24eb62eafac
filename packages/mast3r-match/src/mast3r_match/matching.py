"""Two photos, or many pairs of them, to matches: the whole way (spec 20)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from mast3r_model import (
    AsymmetricCroCo3DStereo,
    ImageTransform,
    InputError,
    LoadedImage,
    PairPrediction,
    load_image,
)

from .correspondences import Correspondences
from .matches import Matches
from .options import MatchKeywords, MatchOptions, match_options
from .predictions import match_prediction

Photo = str | Path | LoadedImage
Mask = Bool[np.ndarray, "height width"]


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


@dataclasses.dataclass(frozen=True)
class PreparedPhoto:
    """A photo as the network sees it.

    Attributes:
        name: its path.
        tensor: (3, h, w) in [-1, 1].
        transform: between its pixels and the network's.
        allowed: (h, w), False where it may not match; None for everywhere.
    """

    name: str
    tensor: Tensor
    transform: ImageTransform
    allowed: Bool[Tensor, "h w"] | None


def prepare_photo(image: Photo, mask: Mask | None, *, size: int, patch_size: int) -> PreparedPhoto:
    """Load a photo, unless it is, and bring its mask to the network's size."""
    loaded = image if isinstance(image, LoadedImage) else load_image(image, size, patch_size=patch_size)
    allowed = None if mask is None else allowed_pixels(mask, loaded.transform, str(loaded.path))
    return PreparedPhoto(str(loaded.path), loaded.tensor, loaded.transform, allowed)


def allowed_pixels(mask: Mask, transform: ImageTransform, name: str) -> Bool[Tensor, "h w"]:
    """A photo's mask in network pixels.

    Raises:
        InputError: the mask has another size than its photo.
    """
    usable = np.asarray(mask).astype(bool)
    if usable.shape != transform.original_shape:
        height, width = transform.original_shape
        raise InputError(
            f"the mask of {name} has shape {usable.shape}, but its photo is {width}x{height} pixels",
            hint=f"give a mask of shape {(height, width)}, False where nothing may match",
        )
    return torch.from_numpy(np.ascontiguousarray(transform.map_to_network(usable, sampling="nearest")))


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
    encoded = model.encode([photos[index].tensor for index in used], batch_size=batch_size)
    features = dict(zip(used, encoded, strict=True))
    both_ways = [(i, j) for i, j in pairs for i, j in ([(i, j), (j, i)] if options.symmetric else [(i, j)])]
    rows = {index: row for row, index in enumerate(used)}
    decoded = model.decode_pairs(
        list(features.values()), [(rows[i], rows[j]) for i, j in both_ways], batch_size=batch_size
    )
    for first, second in pairs:
        prediction = next(decoded)
        reverse = next(decoded) if options.symmetric else None
        photo0, photo1 = photos[first], photos[second]
        found = match_prediction(
            prediction, reverse=reverse, options=options, allowed0=photo0.allowed, allowed1=photo1.allowed
        )
        matches = to_original_pixels(found, prediction, photo0, photo1, made_with)
        yield matches if options.max_matches is None else matches.spread(options.max_matches)


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
