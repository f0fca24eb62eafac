"""What a retriever is, and the whole way from photos to how alike they are (spec 30 section 10, 50 D2)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_match.photos import Photo, PreparedPhoto
from mast3r_model import (
    AsymmetricCroCo3DStereo,
    EncodedImage,
    InputError,
    LoadedImage,
    PluginError,
    load_image,
    registry,
)

RetrievalImage = Photo | EncodedImage
"""A path, a loaded photo, or what ``model.encode`` made of one."""

DEFAULT_RETRIEVER = "encoder"
IMAGES_AT_ONCE = 8


@runtime_checkable
class Retriever(Protocol):
    """Says which images look alike. What plugins give in ``mast3r_retrievers`` makes one."""

    def describe(self, images: Sequence[RetrievalImage]) -> Sequence[object]:
        """What is to be remembered of each image, one object each; as much as fits into memory for thousands.

        Args:
            images: paths, loaded photos, or encoded images (a retriever that needs pixels refuses those
                with an InputError).

        Raises:
            ImageError: a photo that cannot be read.
        """
        ...

    def similarity(
        self, queries: Sequence[Any], database: Sequence[Any]
    ) -> Float[np.ndarray, "queries database"]:
        """How alike each query is to each image of the database: larger is more alike, on any scale.

        Args:
            queries: what :meth:`describe` returned for them.
            database: the same, of the images that they are compared to.
        """
        ...


def image_similarity(
    model: AsymmetricCroCo3DStereo,
    images: Sequence[RetrievalImage],
    *,
    retriever: str | os.PathLike[str] | Retriever = DEFAULT_RETRIEVER,
    batch_size: int = IMAGES_AT_ONCE,
    progress: Callable[[int], None] | None = None,
) -> Float[np.ndarray, "images images"]:
    """How alike images are::

        similarity = image_similarity(load_model(), sorted(Path("photos").glob("*.jpg")))
        similarity[3].argsort()[::-1]        # the images most like number 3, itself among the first

    Args:
        model: the network whose encoder looks at the images.
        images: paths, loaded photos, or encoded images.
        retriever: ``"encoder"`` (any network, nothing else needed), the path of upstream's retrieval
            checkpoint, another registered name, or a retriever.
        batch_size: images at a time.
        progress: called with the number of images just done.

    Returns:
        (images, images) float32: row = query, larger is more alike. With a retrieval checkpoint it is not
        symmetric, and an image's similarity to itself means nothing.

    Raises:
        ImageError: a photo that cannot be read.
        InputError: an unknown retriever.
        CheckpointError: a retrieval checkpoint that cannot be read, or of another network.
    """
    chosen = retriever if isinstance(retriever, Retriever) else make_retriever(retriever, model)
    described: list[object] = []
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        described += chosen.describe(part)
        if progress is not None:
            progress(len(part))
    if not described:
        return np.zeros((0, 0), dtype=np.float32)
    return np.asarray(chosen.similarity(described, described), dtype=np.float32)


def make_retriever(
    name_or_path: str | os.PathLike[str], model: AsymmetricCroCo3DStereo, **options: object
) -> Retriever:
    """The retriever of a registered name, or of upstream's checkpoint at a path.

    Args:
        name_or_path: ``"encoder"``, ``"mast3r"`` (with the option `checkpoint`), what plugins add, or the
            path of a ``..._trainingfree.pth``.
        model: the network that it may use.
        **options: of the retriever.

    Raises:
        InputError: neither a registered name nor a file.
        CheckpointError: a checkpoint that cannot be read, or of another network.
        PluginError: the name's plugin is broken.
    """
    text = os.fspath(name_or_path)
    retrievers = registry("retrievers")
    if text not in retrievers:
        if not Path(text).is_file():
            raise InputError(
                f"unknown retriever {text!r}: neither a file nor one of {', '.join(retrievers.names())}",
                hint="give encoder, or the path of a retrieval checkpoint (..._trainingfree.pth)",
            )
        text, options = "mast3r", {"checkpoint": text, **options}
    factory = cast(Callable[..., Retriever], retrievers[text])
    try:
        inspect.signature(factory).bind(model, **options)
    except TypeError as error:
        hint = "give the path of the checkpoint" if "checkpoint" in str(error) else None
        raise InputError(f"the retriever {text!r}: {error}", hint=hint) from None
    made = factory(model, **options)
    if not isinstance(made, Retriever):
        raise PluginError(f"the retriever {text!r} made a {type(made).__name__} without describe, similarity")
    return made


@torch.no_grad()
def encoder_tokens(
    model: AsymmetricCroCo3DStereo, images: Sequence[RetrievalImage], *, size: int
) -> list[Float[Tensor, "tokens channels"]]:
    """The encoder's tokens of images, float32 on the network's device; encoded images are taken as they are.

    Args:
        model: the network.
        images: paths, loaded photos, or encoded images.
        size: long side of the network's input in pixels, for paths.
    """
    encoded: dict[int, EncodedImage] = {}
    tensors: dict[int, Tensor] = {}
    for row, image in enumerate(images):
        if isinstance(image, EncodedImage):
            encoded[row] = image
        elif isinstance(image, (LoadedImage, PreparedPhoto)):
            tensors[row] = image.tensor
        else:
            tensors[row] = load_image(image, size, patch_size=model.patch_size).tensor
    fresh = model.encode(list(tensors.values()), batch_size=max(1, len(tensors))) if tensors else []
    encoded |= dict(zip(tensors, fresh, strict=True))
    return [encoded[row].tokens.float() for row in range(len(images))]
