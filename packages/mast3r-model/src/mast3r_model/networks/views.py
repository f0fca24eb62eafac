"""Reading upstream's view dictionaries (spec 10 sections 6.1 and 6.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mast3r_model.errors import InputError

View: TypeAlias = Mapping[str, Any]
"""One side of a batch of pairs: ``img``, and optionally ``true_shape`` and ``instance``."""


def image_of(view: View) -> Float[Tensor, "batch 3 height width"]:
    """The image batch of a view."""
    image = view.get("img")
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[1] != 3:
        found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"view['img'] must be a tensor (batch, 3, height, width), got {found}")
    return image


def true_shape_of(view: View) -> Int[Tensor, "batch 2"] | None:
    """(height, width) of each image as it was shot, None if the view does not say."""
    value = view.get("true_shape")
    return None if value is None else torch.as_tensor(value)


def shapes_on_cpu(
    image: Float[Tensor, "batch 3 height width"],
    true_shape: Int[Tensor, "batch 2"] | None,
    *,
    may_be_transposed: bool,
) -> Int[Tensor, "batch 2"]:
    """Check that the shapes fit the tensor; without any, all images are as the tensor is.

    Args:
        image: the images.
        true_shape: (height, width) of each, on any device.
        may_be_transposed: whether portrait images may be stored in a landscape tensor.

    Raises:
        InputError: shapes of another number or size than the tensor's.
    """
    batch, height, width = image.shape[0], image.shape[2], image.shape[3]
    stored = torch.tensor([height, width])
    if true_shape is None:
        return stored.expand(batch, 2)
    shapes = true_shape.to(device="cpu", dtype=torch.int64)
    if shapes.shape != (batch, 2):
        raise InputError(
            f"true_shape must be ({batch}, 2), a (height, width) for each image, got {tuple(shapes.shape)}"
        )
    fits = (shapes == stored).all(dim=1)
    if may_be_transposed:
        fits |= (shapes == stored.flip(0)).all(dim=1)
    if not fits.all():
        wrong = tuple(shapes[int(fits.int().argmin())].tolist())
        raise InputError(
            f"true_shape {wrong} does not fit images of {height}x{width} pixels (height x width)",
            hint="patch_embed_cls='ManyAR_PatchEmbed' takes portrait images in a landscape tensor; "
            "otherwise true_shape is the tensor's own",
        )
    return shapes


def is_symmetrized(instances1: Sequence[str] | None, instances2: Sequence[str] | None) -> bool:
    """Whether rows come as (a, b), (b, a), (c, d), (d, c), ..., so that half of the images need encoding.

    The strings are trusted: they must be unique per image.
    """
    if instances1 is None or instances2 is None:
        return False
    count = len(instances1)
    if count < 2 or count % 2 or len(instances2) != count:
        return False
    return all(
        instances1[row] == instances2[row + 1] and instances1[row + 1] == instances2[row]
        for row in range(0, count, 2)
    )
