"""Upstream's retrieval model: a head on the encoder's tokens, and a codebook (spec 30 section 10)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import AsymmetricCroCo3DStereo, CheckpointError

from .asmk import AsmkDatabase
from .checkpoint import RetrievalCheckpoint, read_retrieval_checkpoint
from .head import LocalFeatures, RetrievalHead
from .retriever import RetrievalImage, encoder_tokens


class AsmkRetriever:
    """Images are alike that hold the same words of a codebook; registered as ``mast3r``.

    Args:
        model: the network that the checkpoint was made for: its encoder's tokens are what the head reads.
        checkpoint: path of upstream's ``..._trainingfree.pth``, or what `read_retrieval_checkpoint` returned.
        codebook: path of its codebook, if that is elsewhere.

    Raises:
        UnsafeCheckpointError: a file asks for more than tensors and plain values. Nothing was run.
        CheckpointError: missing, damaged, or of another network.
    """

    def __init__(
        self,
        model: AsymmetricCroCo3DStereo,
        *,
        checkpoint: str | os.PathLike[str] | RetrievalCheckpoint,
        codebook: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(checkpoint, RetrievalCheckpoint):
            checkpoint = read_retrieval_checkpoint(checkpoint, codebook=codebook)
        if checkpoint.codebook is None:
            raise CheckpointError(f"{checkpoint.name} comes without a codebook")
        self.model = model
        self.head = RetrievalHead(checkpoint)
        self.codebook = torch.from_numpy(checkpoint.codebook)
        self.image_size = checkpoint.options.image_size
        self._check_widths(checkpoint)

    def describe(self, images: Sequence[RetrievalImage]) -> list[LocalFeatures]:
        """The most attended local features of each image, on the CPU."""
        described = []
        for tokens in encoder_tokens(self.model, images, size=self.image_size):
            found = self.head.to(tokens.device).local_features(tokens)
            described.append(
                LocalFeatures(found.descriptors.cpu(), found.attention.cpu(), found.tokens.cpu())
            )
        return described

    def similarity(
        self, queries: Sequence[LocalFeatures], database: Sequence[LocalFeatures]
    ) -> Float[np.ndarray, "queries database"]:
        """ASMK's scores, float64; see `AsmkDatabase.scores`."""
        searched = AsmkDatabase(self.codebook, self._on_device(database))
        return searched.scores(self._on_device(queries))

    def _on_device(self, features: Sequence[LocalFeatures]) -> list[Tensor]:
        device = next(self.model.parameters()).device
        return [image.descriptors.to(device) for image in features]

    def _check_widths(self, checkpoint: RetrievalCheckpoint) -> None:
        """The encoder's width must be what the head reads, and what the head gives the codebook's.

        Raises:
            CheckpointError: they differ.
        """
        width = self.model.config.enc_embed_dim
        try:
            features, _ = self.head(torch.zeros(1, width))
        except RuntimeError:
            raise CheckpointError(
                f"{checkpoint.name} was made for an encoder of another width than this network's {width}",
                hint="use the network that it names (--model), or the retriever encoder",
            ) from None
        if features.shape[-1] != self.codebook.shape[1]:
            raise CheckpointError(
                f"{checkpoint.name} makes features of {features.shape[-1]} channels, but its codebook has "
                f"{self.codebook.shape[1]}",
                hint="use the two files of one download",
            )
