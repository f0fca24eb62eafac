"""How the predictions of many pairs are computed and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from mast3r_match import MatchOptions
from mast3r_model import InputError

StorageDtype = Literal["fp16", "fp32"]


def reconstruction_matching() -> MatchOptions:
    """Both decodings matched, each from both images, on a grid of 8 pixels (spec 20 section 5.1)."""
    return MatchOptions(subsample=8, border=0, symmetric=True)


@dataclass(frozen=True)
class PredictionOptions:
    """How the predictions of many pairs are computed and kept.

    Attributes:
        matching: how pairs are matched; always symmetric, ``max_matches`` does not count.
        batch_size: images, and unordered pairs, at a time; None for what suits the device. Halved where
            memory runs out.
        storage: of points and confidences on the disk. With ``fp16`` no point moves by more than 1/1024 of
            its distance (1/5700 on average), no confidence by more than 1/1024 of its distance from 1; a map
            for which that does not hold is kept in float32.
        workers: processes of the engines that have several; None for one a device.
        features_kept: images whose features a worker holds; pairs are ordered so that few more are needed.
    """

    matching: MatchOptions = field(default_factory=reconstruction_matching)
    batch_size: int | None = None
    storage: StorageDtype = "fp16"
    workers: int | None = None
    features_kept: int = 64

    def __post_init__(self) -> None:
        """Refuse values that mean nothing.

        Raises:
            InputError: a value outside its range.
        """
        if not self.matching.symmetric:
            raise InputError(
                "pairs of a reconstruction are matched both ways", "give MatchOptions(symmetric=True)"
            )
        for name, least in (("batch_size", 1), ("workers", 1), ("features_kept", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least}, got {value}")
        if self.storage not in get_args(StorageDtype):
            raise InputError(f"storage must be fp16 or fp32, got {self.storage!r}")
