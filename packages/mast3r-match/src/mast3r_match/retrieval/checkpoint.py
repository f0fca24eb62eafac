"""Reading upstream's retrieval checkpoint, without running anything in it (spec 30 section 10.1)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mast3r_model import CheckpointError, read_pth

from .pickles import read_plain_pickle


@dataclass(frozen=True)
class RetrievalOptions:
    """How upstream's retrieval head is built and used.

    Attributes:
        hidden_dims: outputs of the projector's linear layers; empty without a projector.
        residual: add the projector's input to its output.
        features: local features kept per image; negative: that share of the tokens (-1: all).
        image_size: long side of the photos it is meant for, in pixels.
        codebook_size: number of words.
    """

    hidden_dims: tuple[int, ...] = ()
    residual: bool = False
    features: float = 300
    image_size: int = 512
    codebook_size: int | None = None

    @classmethod
    def from_arguments(
        cls, arguments: argparse.Namespace | Mapping[str, object], name: str
    ) -> RetrievalOptions:
        """From what upstream stores beside the weights.

        Raises:
            CheckpointError: an option of another kind than upstream's.
        """
        given = vars(arguments) if isinstance(arguments, argparse.Namespace) else dict(arguments)
        weighting = given.get("featweights", "l2norm")
        if weighting != "l2norm":
            raise CheckpointError(f"{name}: unknown featweights {weighting!r}, expected 'l2norm'")
        try:
            return cls(
                hidden_dims=_dims(given.get("hdims")),
                residual=bool(given.get("residual", False)),
                features=_number(given.get("nfeat", 300)),
                image_size=int(_number(given.get("imsize", 512))),
                codebook_size=parse_size(given.get("nclusters")),
            )
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{name}: its options cannot be read: {error}") from error


@dataclass(frozen=True, eq=False)
class RetrievalCheckpoint:
    """What upstream's two files of a retrieval model hold.

    Attributes:
        name: of the file, for messages.
        options: how the head is built.
        tensors: its weights; the network whose encoder it reads is not in them.
        codebook: (words, channels) float32, None if there is none.
    """

    name: str
    options: RetrievalOptions
    tensors: Mapping[str, Tensor]
    codebook: Float[np.ndarray, "words channels"] | None = None


def read_retrieval_checkpoint(
    path: str | os.PathLike[str], *, codebook: str | os.PathLike[str] | None = None
) -> RetrievalCheckpoint:
    """Read ``<name>_trainingfree.pth`` and the ``<name>_codebook.pkl`` beside it.

    Args:
        path: the first file.
        codebook: the second, if it is elsewhere.

    Raises:
        UnsafeCheckpointError: a file asks for more than tensors, arrays and plain values. Nothing was run.
        CheckpointError: missing, damaged, or of another layout.
    """
    path = Path(path)
    content = read_pth(path)
    arguments, tensors = content.get("args"), content.get("model")
    if not isinstance(arguments, (argparse.Namespace, Mapping)) or not isinstance(tensors, Mapping):
        raise CheckpointError(
            f"{path} is no retrieval checkpoint: expected 'args' and 'model', found {', '.join(content)}",
            hint="upstream's is named ..._retrieval_trainingfree.pth",
        )
    foreign = [key for key, value in tensors.items() if not isinstance(value, Tensor)]
    if foreign:
        raise CheckpointError(f"{path}: its weights hold {foreign[0]!r}, which is no tensor")
    options = RetrievalOptions.from_arguments(arguments, path.name)
    place = codebook_path(path) if codebook is None else Path(codebook)
    return RetrievalCheckpoint(path.name, options, dict(tensors), read_codebook(place, options.codebook_size))


def codebook_path(path: Path) -> Path:
    """Where the codebook of a retrieval checkpoint lies: its last ``_`` field gives way to ``codebook``."""
    stem = path.stem.rpartition("_")[0] or path.stem
    return path.with_name(f"{stem}_codebook.pkl")


def read_codebook(
    path: str | os.PathLike[str], size: int | None = None
) -> Float[np.ndarray, "words channels"]:
    """Read a codebook that ASMK wrote: a pickle of plain values and one array.

    Args:
        path: the file.
        size: number of words that it must have; None for any.

    Raises:
        UnsafeCheckpointError: the pickle asks for more than that. Nothing was run.
        CheckpointError: missing, damaged, or of another layout or size.
    """
    path = Path(path)
    content = read_plain_pickle(path)
    try:
        kind, stated = content["type"], parse_size(content["params"]["size"])  # type: ignore[index]
        centroids = content["state"]["centroids"]  # type: ignore[index]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is no codebook: {type(error).__name__} {error}") from error
    if kind != "Codebook" or not isinstance(centroids, np.ndarray) or centroids.ndim != 2:
        raise CheckpointError(f"{path} is no codebook: expected centroids (words, channels), got {kind!r}")
    if stated not in (None, len(centroids)) or size not in (None, len(centroids)):
        raise CheckpointError(
            f"{path} holds {len(centroids)} words, but says {stated}, and its checkpoint {size}",
            hint="use the two files of one download",
        )
    if not np.isfinite(centroids).all() or not len(centroids):
        raise CheckpointError(f"{path} is no codebook: it is empty or its centroids are not finite")
    return np.ascontiguousarray(centroids, dtype=np.float32)


def parse_size(size: object) -> int | None:
    """A number of words: 65536, ``"65536"`` or ``"64k"``."""
    if size is None:
        return None
    text = str(size).strip().lower()
    factors = {"k": 1024, "m": 1024**2}
    factor = factors.get(text[-1:], 1)
    return int(text.removesuffix(text[-1]) if factor > 1 else text) * factor


def _dims(given: object) -> tuple[int, ...]:
    if isinstance(given, str):
        return tuple(int(part) for part in given.split("_") if part)
    if isinstance(given, (list, tuple)):
        return tuple(int(part) for part in given)
    if given in (None, 0):
        return ()
    raise TypeError(f"hdims is {given!r}")


def _number(given: object) -> float:
    number = float(str(given))
    return int(number) if number.is_integer() and number >= 0 else number
