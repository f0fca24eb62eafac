"""What predictions are known by: the content that they were computed from (spec 00, the prediction cache)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mast3r_match import MatchOptions
from mast3r_model import InputError
from mast3r_sfm.photos import SourceImage

FORMAT_VERSION = 1
"""Part of every key: raise it when equal keys would no longer mean equal content."""


@dataclass(frozen=True)
class NetworkIdentity:
    """What a network's outputs depend on beside its inputs.

    Attributes:
        digest: of all its weights and its configuration, hex.
        precision: of its compute: fp32, bf16, fp16.
        description: for people.
    """

    digest: str
    precision: str
    description: str


def network_identity(model: Any) -> NetworkIdentity:
    """Identify a network by its weights' content.

    Args:
        model: a network; or any object like one that has a text ``fingerprint``, different for different
            outputs.

    Raises:
        InputError: neither.
    """
    precision = getattr(model, "precision", None)
    describe = getattr(getattr(model, "config", None), "to_expression", None)
    description = describe() if callable(describe) else type(model).__name__
    fingerprint = getattr(model, "fingerprint", None)
    if isinstance(fingerprint, str):
        digest = hashlib.sha256(fingerprint.encode()).hexdigest()
    elif isinstance(model, nn.Module):
        digest = _weights_digest(model, description)
    else:
        raise InputError(
            f"cannot tell one {type(model).__name__} from another, so its predictions cannot be kept",
            "give it an attribute `fingerprint`: a text that differs where its outputs do",
        )
    return NetworkIdentity(digest, "fp32" if precision is None else precision.name, description)


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


def _weights_digest(model: nn.Module, description: str) -> str:
    digest = hashlib.sha256(f"{type(model).__qualname__}\n{description}\n".encode())
    for name, tensor in sorted(model.state_dict().items()):
        content = tensor.detach().contiguous().cpu()
        digest.update(f"{name} {content.dtype} {tuple(content.shape)}\n".encode())
        digest.update(content.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
