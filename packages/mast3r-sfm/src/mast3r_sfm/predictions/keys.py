"""What predictions are known by: the content that they were computed from (spec 00, the prediction cache)."""

from __future__ import annotations

import hashlib

from mast3r_match import MatchOptions
from mast3r_model import NetworkIdentity
from mast3r_sfm.photos import SourceImage

FORMAT_VERSION = 1
"""Part of every key: raise it when equal keys would no longer mean equal content."""


def image_identity(image: SourceImage) -> str:
    """Content, preprocessing and mask of an image as one text."""
    if image.allowed is None:
        return image.digest
    return f"{image.digest}+{hashlib.sha256(image.allowed.tobytes()).hexdigest()}"


def features_key(image: SourceImage, network: NetworkIdentity) -> str:
    """Key of an image's features; its mask does not count."""
    return _key("features", image.digest, network.digest, network.precision)


def pair_key(
    identity0: str, identity1: str, network: NetworkIdentity, matching: MatchOptions, storage: str
) -> str:
    """Key of a pair's prediction, the same for both orders of its images.

    Which back end matches, and with how many threads, does not count: they agree.

    Args:
        identity0: what `image_identity` says of one image.
        identity1: of the other.
        network: what predicts.
        matching: how.
        storage: precision of the maps on the disk.
    """
    options = (
        matching.subsample,
        matching.pixel_tol,
        matching.border,
        matching.min_confidence,
        matching.metric,
        matching.precision,
    )
    images = sorted((identity0, identity1))
    return _key("pair", *images, network.digest, network.precision, repr(options), storage)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join([f"version {FORMAT_VERSION}", *parts]).encode()).hexdigest()
