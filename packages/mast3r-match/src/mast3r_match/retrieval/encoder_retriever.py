"""Which images look alike, by the encoder's tokens alone: no training, no codebook, any network.

The tokens are whitened by the principal axes of the set itself, so that what all its images share (sky, the
building's colour) counts little; of each image the tokens that stand out most are kept; and two images are as
alike as these tokens are mutual nearest neighbours. benchmarks/retrieval.py compares this with pooled tokens
and with ASMK on a codebook of the set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from mast3r_model import AsymmetricCroCo3DStereo, InputError

from .retriever import RetrievalImage, encoder_tokens
from .whitening import Whitening

FEATURES = 384
EXPONENT = 4
VARIANCE = 0.9995
"""The axes beyond hold noise; an encoder that ends with a layer norm has one without any variance."""
TOKENS_PER_AXIS = 16
"""With fewer, the axes fit the tokens' noise, and no two tokens of a small set are alike."""
TOKENS_TO_FIT = 2**16
"""More tokens than this do not change the principal axes, but cost memory."""

_IMAGES_AT_ONCE = 64


class EncoderRetriever:
    """Images are alike whose encoder tokens are mutual nearest neighbours; registered as ``encoder``.

    Args:
        model: the network.
        features: tokens of each image that are compared, those that stand out most.
        image_size: long side of the network's input in pixels, for images given as paths.
    """

    def __init__(
        self, model: AsymmetricCroCo3DStereo, *, features: int = FEATURES, image_size: int = 512
    ) -> None:
        if features < 1:
            raise InputError(f"features is {features}, expected at least 1")
        self.model = model
        self.features = features
        self.image_size = image_size
        self._last: tuple[Sequence[Tensor], Whitening | None, Tensor | None] = ((), None, None)
        self._fitted: Whitening | None = None

    def describe(self, images: Sequence[RetrievalImage]) -> list[Float[Tensor, "tokens channels"]]:
        """All tokens of each image, on the CPU: which of them stand out is known once the set is."""
        return [tokens.cpu() for tokens in encoder_tokens(self.model, images, size=self.image_size)]

    @torch.no_grad()
    def fit(self, images: Sequence[Float[Tensor, "tokens channels"]]) -> None:
        """Take the whitening of these images for every database from now on.

        For a large set of which each query is compared to a part.

        Args:
            images: a fair sample of the set, as `describe` returns them.
        """
        self._fitted = fit_to_images(images)
        self._last = ((), None, None)

    @torch.no_grad()
    def similarity(
        self,
        queries: Sequence[Float[Tensor, "tokens channels"]],
        database: Sequence[Float[Tensor, "tokens channels"]],
    ) -> Float[np.ndarray, "queries database"]:
        """From 0 to 1, float32; symmetric, and 1 for an image and itself, where both sides are one set.

        The whitening is that of the database, or what `fit` found.
        """
        whitening, stacked = self._prepared(database)
        if queries is database:
            return token_similarity(stacked, stacked).cpu().numpy()
        return token_similarity(self._outstanding(queries, whitening), stacked).cpu().numpy()

    def _prepared(
        self, database: Sequence[Float[Tensor, "tokens channels"]]
    ) -> tuple[Whitening, Float[Tensor, "images features channels"]]:
        """Whitening and whitened tokens of a database; the last one is kept, for one query after another."""
        images, whitening, stacked = self._last
        if whitening is None or stacked is None or not _same(images, database):
            whitening = fit_to_images(database) if self._fitted is None else self._fitted
            stacked = self._outstanding(database, whitening)
            self._last = (tuple(database), whitening, stacked)
        return whitening, stacked

    def _outstanding(
        self, images: Sequence[Tensor], whitening: Whitening
    ) -> Float[Tensor, "images features channels"]:
        """Whitened tokens of unit length, the longest before that; missing ones are zero."""
        device = next(self.model.parameters()).device
        stacked = torch.zeros(
            len(images), self.features, whitening.projection.shape[1], dtype=torch.float32, device=device
        )
        for row, tokens in enumerate(images):
            whitened = whitening(tokens.to(device))
            strongest = whitened.norm(dim=1).topk(min(self.features, len(whitened))).indices
            stacked[row, : len(strongest)] = normalize(whitened[strongest], dim=1)
        return stacked


def _same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def fit_to_images(images: Sequence[Float[Tensor, "tokens channels"]]) -> Whitening:
    """The whitening of a set of images, fitted to tokens spread evenly over all of them."""
    total = sum(map(len, images))
    step = max(1, -(-total // TOKENS_TO_FIT))
    sample = torch.cat([tokens[row % step :: step] for row, tokens in enumerate(images)])
    fitted = Whitening.fit(sample, variance=VARIANCE)
    return Whitening(fitted.mean, fitted.projection[:, : max(1, len(sample) // TOKENS_PER_AXIS)])


def token_similarity(
    queries: Float[Tensor, "queries features channels"], database: Float[Tensor, "images features channels"]
) -> Float[Tensor, "queries images"]:
    """How well the tokens of images fit: the sum, over mutual nearest neighbours, of a power of the cosine,
    divided by the geometric mean of their numbers of tokens.

    Args:
        queries: unit vectors; rows of zeros are no tokens.
        database: the same. Where it is `queries` itself, each pair is computed once.
    """
    same = queries is database
    scores = queries.new_zeros(len(queries), len(database))
    weights = [_count(images) ** -0.5 for images in (queries, database)]
    for row, query in enumerate(queries):
        for start in range(row if same else 0, len(database), _IMAGES_AT_ONCE):
            others = slice(start, start + _IMAGES_AT_ONCE)
            found = _mutual_agreement(query, database[others])
            scores[row, others] = found * weights[0][row] * weights[1][others]
    return torch.triu(scores) + torch.triu(scores, 1).T if same else scores


def _mutual_agreement(query: Tensor, others: Tensor) -> Tensor:
    """(images,) the sum of powers of cosines over a query's mutual nearest neighbours in each image."""
    cosines = torch.einsum("qc,itc->iqt", query, others)
    best, there = cosines.max(dim=2)
    # The neighbour's own best is this token where it is as good: cheaper than to ask which token it is.
    mutual = cosines.amax(dim=1).gather(1, there) == best
    return (best.clamp_min(0) ** EXPONENT * mutual).sum(dim=1)


def _count(images: Tensor) -> Tensor:
    """(images,) how many tokens each image has, at least one."""
    return (images != 0).any(dim=2).sum(dim=1).clamp_min(1).to(images.dtype)
