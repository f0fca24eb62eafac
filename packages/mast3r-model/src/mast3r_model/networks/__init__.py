"""The networks: AsymmetricCroCo3DStereo (DUSt3R) and AsymmetricMASt3R (spec 10 sections 5 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model.lazy import lazy_names

if TYPE_CHECKING:
    from .encoded import EncodedBatch as EncodedBatch
    from .encoded import EncodedImage as EncodedImage
    from .mast3r import AsymmetricMASt3R as AsymmetricMASt3R
    from .stereo import AsymmetricCroCo3DStereo as AsymmetricCroCo3DStereo

_MODULE_OF = {
    "AsymmetricCroCo3DStereo": "stereo",
    "AsymmetricMASt3R": "mast3r",
    "EncodedBatch": "encoded",
    "EncodedImage": "encoded",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
