"""Checkpoints known by name; registered through the hook ``mast3r_models`` like anybody's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_NON_COMMERCIAL = "CC BY-NC-SA 4.0"


@dataclass(frozen=True)
class ModelPreset:
    """A checkpoint with a short name.

    Attributes:
        location: a folder, a file, or the id of a repository on the Hugging Face hub.
        description: one line for ``mast3r models list``.
        licence: of the weights, by its usual short name.
    """

    location: str
    description: str
    licence: str


NANO = ModelPreset(
    str(Path(__file__).resolve().parent.parent / "weights" / "nano"),
    "built in, small, trained on synthetic scenes",
    "Apache-2.0",
)
MAST3R_512_METRIC = ModelPreset(
    "naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric",
    "official MASt3R, 512 px, metric, 2.8 GB",
    _NON_COMMERCIAL,
)
DUST3R_512_DPT = ModelPreset(
    "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt",
    "official DUSt3R, 512 px, points without descriptors, 2.3 GB",
    _NON_COMMERCIAL,
)
DUST3R_512_LINEAR = ModelPreset(
    "naver/DUSt3R_ViTLarge_BaseDecoder_512_linear",
    "official DUSt3R, 512 px, linear head, 2.1 GB",
    _NON_COMMERCIAL,
)
DUST3R_224_LINEAR = ModelPreset(
    "naver/DUSt3R_ViTLarge_BaseDecoder_224_linear",
    "official DUSt3R, 224 px, linear head, 2.1 GB",
    _NON_COMMERCIAL,
)
