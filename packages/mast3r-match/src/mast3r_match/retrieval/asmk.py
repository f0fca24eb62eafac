"""ASMK: how alike two sets of local features are, by the words of a codebook that both hold (spec 30 10.3).

Every image keeps, for each word it holds, the signs of the sum of its features' differences to the word. Two
images are compared word by word; agreement below half counts nothing, the rest to the third power.

Source: spec 30 section 10.3; Tolias, Avrithis, Jegou, "Image search with selective match kernels", IJCV 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mast3r_model import InputError

QUERY_ASSIGNMENTS = 5
EXPONENT = 3
WORD_BITS = 32
"""Signs are stored in words of so many bits; those that pad the last one count as agreeing."""

_JOIN_BYTES = 64 * 1024**2
_DISTANCE_BYTES = 256 * 1024**2


@dataclass(frozen=True, eq=False)
class _WordSigns:
    """The words that images hold, sorted by word.

    Attributes:
        image: which image.
        word: which word of the codebook.
        signs: the signs of its residual there, packed.
        words_of_image: how many words each image holds.
    """

    image: Int[np.ndarray, " rows"]
    word: Int[np.ndarray, " rows"]
    signs: Int[np.ndarray, "rows packed"]
    words_of_image: Int[np.ndarray, " images"]


class AsmkDatabase:
    """Images to compare others to.

    Args:
        codebook: (words, channels) float32.
        images: local features (features, channels) of each image; an image may have none.
    """

    def __init__(
        self,
        codebook: Float[np.ndarray, "words channels"] | Float[Tensor, "words channels"],
        images: Sequence[Float[Tensor, "features channels"]],
    ) -> None:
        self.codebook = torch.as_tensor(codebook, dtype=torch.float32)
        self._rows = _word_signs(self.codebook, images, assignments=1)

    def scores(
        self,
        queries: Sequence[Float[Tensor, "features channels"]],
        *,
        assignments: int = QUERY_ASSIGNMENTS,
    ) -> Float[np.ndarray, "queries images"]:
        """How alike each query is to each image of the database, from 0; float64.

        Not symmetric, since a query's features count for several words and a database's for one. An image
        compared to itself does not score 1.

        Args:
            queries: local features of each query.
            assignments: to how many of the nearest words a query's feature belongs.
        """
        asked = _word_signs(self.codebook, queries, assignments=assignments)
        kept = self._rows
        shape = len(queries), len(kept.words_of_image)
        totals = np.zeros(shape[0] * shape[1])
        bits = WORD_BITS * -(-self.codebook.shape[1] // WORD_BITS)
        for left, right in _joined(asked, kept):
            differing = np.bitwise_count(asked.signs[left] ^ kept.signs[right]).sum(axis=1, dtype=np.int64)
            agreement = np.maximum(1.0 - 2.0 * differing / bits, 0.0) ** EXPONENT
            cells = asked.image[left] * shape[1] + kept.image[right]
            totals += np.bincount(cells, weights=agreement, minlength=len(totals))
        norms = np.sqrt(np.outer(asked.words_of_image, kept.words_of_image))
        return totals.reshape(shape) / np.maximum(norms, 1.0)


def asmk_similarity(
    codebook: Float[np.ndarray, "words channels"] | Float[Tensor, "words channels"],
    images: Sequence[Float[Tensor, "features channels"]],
    *,
    assignments: int = QUERY_ASSIGNMENTS,
) -> Float[np.ndarray, "images images"]:
    """How alike images are to each other: row = query; see `AsmkDatabase.scores`."""
    return AsmkDatabase(codebook, images).scores(images, assignments=assignments)


def _word_signs(codebook: Tensor, images: Sequence[Tensor], *, assignments: int) -> _WordSigns:
    words, channels = codebook.shape
    counts = [len(features) for features in images]
    for features in images:
        if features.ndim != 2 or features.shape[1] != channels:
            raise InputError(
                f"features of shape {tuple(features.shape)} do not fit a codebook of {channels} channels"
            )
    if not 1 <= assignments <= words:
        raise InputError(f"a feature cannot belong to {assignments} of {words} words")
    packed = np.zeros((0, -(-channels // 8)), dtype=np.uint8)
    image_of, word_of, signs = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [packed]
    codebook_on: dict[torch.device, Tensor] = {}
    for number, features in enumerate(images):
        if not counts[number]:
            continue
        centroids = codebook_on.setdefault(features.device, codebook.to(features.device))
        held, residuals = _residuals(features.float(), centroids, assignments)
        image_of.append(np.full(len(held), number))
        word_of.append(held.cpu().numpy())
        signs.append(np.packbits((residuals > 0).cpu().numpy(), axis=1))
    word, image = np.concatenate(word_of), np.concatenate(image_of)
    order = np.argsort(word, kind="stable")
    return _WordSigns(
        image[order],
        word[order],
        _as_wide_integers(np.concatenate(signs)[order]),
        np.bincount(image, minlength=len(images)),
    )


def _residuals(features: Tensor, codebook: Tensor, assignments: int) -> tuple[Tensor, Tensor]:
    """The words that one image holds, and its sum of differences to each."""
    nearest = _nearest_words(features, codebook, assignments)
    held, slot = torch.unique(nearest, return_inverse=True)
    residuals = torch.zeros(len(held), features.shape[1], dtype=features.dtype, device=features.device)
    for column in range(assignments):
        differences = features - codebook[nearest[:, column]]
        residuals.index_add_(0, slot[:, column], differences)
    return held, residuals


def _nearest_words(features: Tensor, codebook: Tensor, count: int) -> Tensor:
    """(features, count) the nearest words by Euclidean distance, the nearest first."""
    half_norms = 0.5 * (codebook * codebook).sum(dim=1)
    rows = max(1, _DISTANCE_BYTES // (4 * len(codebook)))
    found = [
        torch.addmm(half_norms, part, codebook.T, alpha=-1).topk(count, dim=1, largest=False).indices
        for part in torch.split(features, rows)
    ]
    return torch.cat(found)


def _as_wide_integers(packed: np.ndarray) -> np.ndarray:
    """Packed signs as 64-bit integers, padded with zeros."""
    surplus = -packed.shape[1] % 8
    return np.ascontiguousarray(np.pad(packed, ((0, 0), (0, surplus)))).view(np.uint64)


def _joined(queries: _WordSigns, database: _WordSigns) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of both that hold the same word, in parts that fit into memory."""
    first = np.searchsorted(database.word, queries.word, side="left")
    matches = np.searchsorted(database.word, queries.word, side="right") - first
    rows = np.flatnonzero(matches)
    ends = np.cumsum(matches[rows])
    at_once = max(1, _JOIN_BYTES // (3 * database.signs.itemsize * max(1, database.signs.shape[1])))
    start = 0
    while start < len(rows):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + at_once, side="right")))
        part, lengths = rows[start:stop], matches[rows[start:stop]]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield np.repeat(part, lengths), np.repeat(first[part], lengths) + within
        start = stop
