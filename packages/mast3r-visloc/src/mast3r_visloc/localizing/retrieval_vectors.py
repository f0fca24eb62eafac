"""One vector for each map image: roughly what it looks like; and their file in the index (spec 50 D1)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from mast3r_model import EncodedImage, atomic_write

RETRIEVAL_FILE = "retrieval.npz"

_GEM_POWER = 3.0


def pooled_tokens(encoded: EncodedImage) -> Float[torch.Tensor, " channels"]:
    """The generalised mean of an image's tokens (power 3), of unit length, on the CPU.

    It is rounded to half precision, as the disk holds it: a run gives the same with an index and without.
    """
    powers = encoded.tokens.float().clamp_min(1e-6).pow(_GEM_POWER).mean(dim=0)
    return torch.nn.functional.normalize(powers.pow(1 / _GEM_POWER), dim=0).cpu().half().float()


def write_vectors(folder: Path, vectors: Mapping[str, Float[torch.Tensor, " channels"]]) -> int:
    """Write the vectors of an index.

    Args:
        folder: of the index.
        vectors: by the name of the image's file of features.

    Returns:
        Bytes that they take.

    Raises:
        OutputError: the file cannot be written.
    """
    values = torch.stack(list(vectors.values())).half().numpy() if vectors else np.empty((0, 0), np.float16)
    with atomic_write(folder / RETRIEVAL_FILE) as temporary, temporary.open("wb") as file:
        np.savez(file, files=np.array(list(vectors), dtype=np.str_), vectors=values)
    return (folder / RETRIEVAL_FILE).stat().st_size


def read_vectors(folder: Path) -> dict[str, Float[torch.Tensor, " channels"]]:
    """What `write_vectors` wrote; nothing if it is missing or damaged, or no file of that kind."""
    try:
        with np.load(folder / RETRIEVAL_FILE, allow_pickle=False) as content:
            files, values = content["files"], content["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    if files.ndim != 1 or values.ndim != 2 or len(files) != len(values) or values.dtype != np.float16:
        return {}
    return dict(zip(files.tolist(), torch.from_numpy(values).float(), strict=True))
