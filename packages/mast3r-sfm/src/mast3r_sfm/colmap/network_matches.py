"""One asymmetric pass of the network over each pair (spec 30 section 11.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from mast3r_match import (
    Correspondences,
    DescriptorMaps,
    MatchOptions,
    match_confident_pixels,
    match_prediction,
)
from mast3r_model import AsymmetricCroCo3DStereo, EncodedImage, InputError, PairPrediction
from mast3r_sfm.pairs import Pair
from mast3r_sfm.photos import ImageSet

ENCODED_ON_DEVICE = 64
"""Features of more images than this wait in main memory for their pairs."""


@dataclass(frozen=True, kw_only=True)
class NetworkMatching:
    """How pairs are matched for COLMAP.

    Attributes:
        dense: all mutual nearest neighbours among confident pixels, instead of walks from a grid.
        pixel_tolerance: of the walks, see `MatchOptions`.
        min_confidence: of a match; dense: of its pixels.
        batch_size: images, and pairs, at a time.
    """

    dense: bool = False
    pixel_tolerance: float = 0.0
    min_confidence: float = 1.001
    batch_size: int = 8


@torch.no_grad()
def network_matches(
    model: AsymmetricCroCo3DStereo, images: ImageSet, pairs: Sequence[Pair], options: NetworkMatching
) -> Iterator[Correspondences]:
    """Match pairs, in network pixels and in their order; the first image is the network's reference.

    Args:
        model: a network that predicts descriptors.
        images: numbered.
        pairs: two numbers each.
        options: how.

    Raises:
        InputError: a network without descriptors is asked for dense matches.
    """
    used = sorted({number for pair in pairs for number in pair})
    row = {number: k for k, number in enumerate(used)}
    features: list[EncodedImage] = []
    for start in range(0, len(used), ENCODED_ON_DEVICE):
        chunk = [images[number].tensor() for number in used[start : start + ENCODED_ON_DEVICE]]
        encoded = model.encode(chunk, batch_size=options.batch_size)
        features += encoded if len(used) <= ENCODED_ON_DEVICE else [image.to("cpu") for image in encoded]
    rows = [(row[first], row[second]) for first, second in pairs]
    predictions = model.decode_pairs(features, rows, batch_size=options.batch_size)
    for (first, second), prediction in zip(pairs, predictions, strict=True):
        allowed = [
            None if mask is None else torch.from_numpy(mask).to(prediction.pts3d1.device)
            for mask in (images[first].allowed, images[second].allowed)
        ]
        if options.dense:
            yield _dense(prediction, allowed, options.min_confidence)
        else:
            walks = MatchOptions(
                pixel_tol=options.pixel_tolerance, min_confidence=options.min_confidence, border=0
            )
            yield match_prediction(prediction, options=walks, allowed0=allowed[0], allowed1=allowed[1])


def _dense(
    prediction: PairPrediction, allowed: Sequence[torch.Tensor | None], min_confidence: float
) -> Correspondences:
    descriptors = prediction.desc1, prediction.desc2
    confidences = prediction.desc_conf1, prediction.desc_conf2
    if descriptors[0] is None or descriptors[1] is None or confidences[0] is None or confidences[1] is None:
        raise InputError(
            "this network predicts no descriptors, which dense matching needs", "leave --dense away"
        )
    known = [
        confidence if mask is None else confidence.where(mask, -torch.inf)
        for confidence, mask in zip(confidences, allowed, strict=True)
        if confidence is not None
    ]
    return match_confident_pixels(
        DescriptorMaps(descriptors[0], descriptors[1], known[0], known[1]), min_confidence=min_confidence
    )
