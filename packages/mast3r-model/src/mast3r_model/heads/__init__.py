"""Heads: from decoder tokens to points, confidences and descriptors per pixel (spec 10 section 7).

Each file makes one head; the hook ``mast3r_heads`` registers it under the name that ``head_type`` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model.lazy import lazy_names

if TYPE_CHECKING:
    from .postprocess import confidence_from_raw as confidence_from_raw
    from .postprocess import descriptors_from_raw as descriptors_from_raw
    from .postprocess import output_maps as output_maps
    from .postprocess import points_from_raw as points_from_raw
    from .shuffle import tokens_to_map as tokens_to_map
    from .spec import HeadFactory as HeadFactory
    from .spec import HeadPair as HeadPair
    from .spec import HeadSpec as HeadSpec
    from .spec import LocalMaps as LocalMaps

_MODULE_OF = {
    "HeadFactory": "spec",
    "HeadPair": "spec",
    "HeadSpec": "spec",
    "LocalMaps": "spec",
    "confidence_from_raw": "postprocess",
    "descriptors_from_raw": "postprocess",
    "output_maps": "postprocess",
    "points_from_raw": "postprocess",
    "tokens_to_map": "shuffle",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
