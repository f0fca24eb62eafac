"""The networks: AsymmetricCroCo3DStereo (DUSt3R) and AsymmetricMASt3R (spec 10 sections 5 and 6)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mast3r_model.predictions import PairPrediction as PairPrediction

    from .encoded import EncodedBatch as EncodedBatch
    from .encoded import EncodedImage as EncodedImage
    from .mast3r import AsymmetricMASt3R as AsymmetricMASt3R
    from .stereo import AsymmetricCroCo3DStereo as AsymmetricCroCo3DStereo

_MODULE_OF = {
    "AsymmetricCroCo3DStereo": ".stereo",
    "AsymmetricMASt3R": ".mast3r",
    "EncodedBatch": ".encoded",
    "EncodedImage": ".encoded",
    "PairPrediction": "..predictions",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module, __name__), name)
    globals()[name] = value
    return value
