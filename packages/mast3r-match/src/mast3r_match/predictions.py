"""From what the network says about a pair to matches in network pixels."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Bool
from torch import Tensor

from mast3r_model import PairPrediction

from .correspondences import Correspondences, DescriptorMaps, match_maps, match_symmetric
from .options import MatchOptions
from .selection import away_from_border


def descriptor_maps(prediction: PairPrediction, *, swapped: bool = False) -> DescriptorMaps:
    """The maps to match: descriptors, or the points themselves where the network has no descriptors.

    Args:
        prediction: of a pair.
        swapped: take view 2 as image 0.
    """
    if prediction.desc1 is not None and prediction.desc2 is not None:
        maps = prediction.desc1, prediction.desc2
        confidences = prediction.desc_conf1, prediction.desc_conf2
        if confidences[0] is None:
            confidences = prediction.conf1, prediction.conf2
    else:
        maps = prediction.pts3d1, prediction.pts3d2_in_view1
        confidences = prediction.conf1, prediction.conf2
    known = [
        torch.ones_like(values[..., 0]) if confidence is None else confidence
        for values, confidence in zip(maps, confidences, strict=True)
    ]
    first, second = (1, 0) if swapped else (0, 1)
    return DescriptorMaps(maps[first], maps[second], known[first], known[second])


def match_prediction(
    prediction: PairPrediction,
    *,
    reverse: PairPrediction | None = None,
    options: MatchOptions | None = None,
    allowed0: Bool[Tensor, "h0 w0"] | None = None,
    allowed1: Bool[Tensor, "h1 w1"] | None = None,
) -> Correspondences:
    """Match the two images of a prediction, in network pixels.

    Args:
        prediction: of the pair (image 0, image 1).
        reverse: of the pair (image 1, image 0); with it both decodings are matched (spec 20 section 5.1).
        options: how to match; ``border`` and ``min_confidence`` are applied here, ``max_matches`` is not.
        allowed0: False where a pixel of image 0 may not match; such pixels do not stand in the way either.
        allowed1: the same for image 1.
    """
    options = options or MatchOptions()
    if prediction.desc1 is None:
        options = dataclasses.replace(options, metric="l2", backend="kdtree")
    maps = descriptor_maps(prediction)
    if reverse is None:
        found = match_maps(maps, options=options, allowed0=allowed0, allowed1=allowed1)
    else:
        passes = [maps, descriptor_maps(reverse, swapped=True)]
        found = match_symmetric(passes, options=options, allowed0=allowed0, allowed1=allowed1)
    xy0, xy1 = found.xy0.cpu().numpy(), found.xy1.cpu().numpy()
    shape0, shape1 = (
        (confidence.shape[0], confidence.shape[1]) for confidence in (maps.confidence0, maps.confidence1)
    )
    inside = away_from_border(xy0, shape0, options.border) & away_from_border(xy1, shape1, options.border)
    kept = torch.from_numpy(inside).to(found.confidence.device)
    kept &= found.confidence >= options.min_confidence
    return Correspondences(found.xy0[kept], found.xy1[kept], found.confidence[kept])
