"""Encoded map images on the disk: one file each, in half precision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mast3r_model import EncodedImage, ImageTransform, atomic_write

from .photos import FileTransform

FORMAT = "mast3r localisation features 1"


@dataclass(frozen=True, eq=False)
class MapFeatures:
    """What is known of a map image without looking at the photo again.

    Attributes:
        encoded: the encoder's output, on the CPU, rounded to half precision.
        transform: between the file's pixels and the network's.
    """

    encoded: EncodedImage
    transform: FileTransform


def rounded(encoded: EncodedImage) -> EncodedImage:
    """As the disk holds it: so that a run gives the same with an index and without."""
    local = None if encoded.local is None else tuple(_half(maps).float() for maps in encoded.local)
    tokens = _half(encoded.tokens).float()
    return EncodedImage(tokens, encoded.positions.cpu(), local, encoded.image_shape)


def write_features(path: Path, features: MapFeatures) -> None:
    """Write one image's features.

    Raises:
        OutputError: the file cannot be written.
    """
    encoded, transform = features.encoded, features.transform
    tensors = {"tokens": _half(encoded.tokens), "positions": encoded.positions.to(torch.int16)}
    tensors |= {f"local{index}": _half(maps) for index, maps in enumerate(encoded.local or ())}
    about = {
        "format": FORMAT,
        "image_shape": encoded.image_shape,
        "local": None if encoded.local is None else len(encoded.local),
        "original_shape": transform.original_shape,
        "upright_shape": transform.upright.original_shape,
        "network_shape": transform.network_shape,
        "upright_from_file": transform.upright_from_file.tolist(),
        "network_from_upright": transform.upright.network_from_original.tolist(),
    }
    contiguous = {name: values.cpu().contiguous() for name, values in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(contiguous, temporary, metadata={"about": json.dumps(about)})


def read_features(path: Path) -> MapFeatures | None:
    """What `write_features` wrote; None if there is no such file, or it is damaged or something else."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            if about["format"] != FORMAT:
                return None
            tokens, positions = file.get_tensor("tokens"), file.get_tensor("positions")
            local = None
            if about["local"] is not None:
                local = tuple(file.get_tensor(f"local{index}").float() for index in range(about["local"]))
        upright = ImageTransform(
            tuple(about["upright_shape"]), tuple(about["network_shape"]), about["network_from_upright"]
        )
        transform = FileTransform(
            tuple(about["original_shape"]), np.array(about["upright_from_file"], dtype=np.float64), upright
        )
        shape = (int(about["image_shape"][0]), int(about["image_shape"][1]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None
    return MapFeatures(EncodedImage(tokens.float(), positions.to(torch.int64), local, shape), transform)


def _half(values: Tensor) -> Tensor:
    return values.detach().cpu().half()
