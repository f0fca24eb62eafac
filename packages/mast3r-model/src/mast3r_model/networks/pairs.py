"""Many images, many pairs: each image encoded once, pairs decoded in batches of equal sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model.errors import InputError
from mast3r_model.predictions import PairDescriptors, PairPrediction

from .encoded import EncodedBatch, EncodedImage
from .schedule import in_order

if TYPE_CHECKING:
    from .stereo import AsymmetricCroCo3DStereo


def encode_images(
    model: AsymmetricCroCo3DStereo, images: Sequence[Float[Tensor, "3 height width"]], *, batch_size: int
) -> list[EncodedImage]:
    """See :meth:`AsymmetricCroCo3DStereo.encode`."""
    for image in images:
        if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
            found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise InputError(f"encode() takes tensors (3, height, width), got {found}")
    stores_landscape = model.config.patch_embed_cls == "ManyAR_PatchEmbed"

    def compute(rows: list[int]) -> list[EncodedImage]:
        batch = torch.stack([images[row] for row in rows]).to(model.mask_token.device)
        height, width = batch.shape[-2:]
        true_shape = torch.tensor([height, width]).expand(len(rows), 2)
        if stores_landscape and height > width:
            batch = batch.transpose(2, 3)
        return model.encode_batch(batch, true_shape).images()

    sizes = [tuple(image.shape[-2:]) for image in images]
    return list(in_order(sizes, compute, batch_size=batch_size))


@torch.no_grad()
def decode_image_pairs(
    model: AsymmetricCroCo3DStereo,
    features: Sequence[EncodedImage],
    pairs: Sequence[tuple[int, int]],
    *,
    batch_size: int,
) -> Iterator[PairPrediction]:
    """See :meth:`AsymmetricCroCo3DStereo.decode_pairs`."""
    for maps1, maps2, row in _maps_of_pairs(model, features, pairs, batch_size, descriptors_only=False):
        yield PairPrediction.from_outputs(maps1, maps2, row)


@torch.no_grad()
def describe_image_pairs(
    model: AsymmetricCroCo3DStereo,
    features: Sequence[EncodedImage],
    pairs: Sequence[tuple[int, int]],
    *,
    batch_size: int,
) -> Iterator[PairDescriptors]:
    """See :meth:`AsymmetricCroCo3DStereo.describe_pairs`."""
    if model.config.desc_dim is None:
        raise InputError(
            f"this {type(model).__name__} predicts no descriptors", "use decode_pairs and match its points"
        )
    for maps1, maps2, row in _maps_of_pairs(model, features, pairs, batch_size, descriptors_only=True):
        confidence1, confidence2 = (
            maps["desc_conf"][row] if "desc_conf" in maps else None for maps in (maps1, maps2)
        )
        yield PairDescriptors(maps1["desc"][row], confidence1, maps2["desc"][row], confidence2)


def _maps_of_pairs(
    model: AsymmetricCroCo3DStereo,
    features: Sequence[EncodedImage],
    pairs: Sequence[tuple[int, int]],
    batch_size: int,
    *,
    descriptors_only: bool,
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor], int]]:
    """Both heads' maps of a batch and the pair's row in them, in the order of the pairs."""
    for pair in pairs:
        if not all(0 <= index < len(features) for index in pair):
            raise InputError(f"pair {pair} names an image outside 0..{len(features) - 1}")

    def compute(rows: list[int]) -> list[tuple[dict[str, Tensor], dict[str, Tensor], int]]:
        chosen = [pairs[row] for row in rows]
        device = model.mask_token.device
        encoded1 = EncodedBatch.stack([features[first] for first, _ in chosen], device)
        encoded2 = EncodedBatch.stack([features[second] for _, second in chosen], device)
        outputs1, outputs2 = model.decode(encoded1, encoded2)
        # Encoded images are upright, so the heads need no turning whatever the configuration says.
        only = descriptors_only
        maps1 = model.head(1, outputs1, encoded1.image_shape, encoded1.local, descriptors_only=only)
        maps2 = model.head(2, outputs2, encoded2.image_shape, encoded2.local, descriptors_only=only)
        return [(maps1, maps2, row) for row in range(len(rows))]

    shapes = [(features[first].image_shape, features[second].image_shape) for first, second in pairs]
    yield from in_order(shapes, compute, batch_size=batch_size)
