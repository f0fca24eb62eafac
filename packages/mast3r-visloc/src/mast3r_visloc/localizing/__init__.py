"""Localising photos in a map: retrieval, matching, pose (spec 50 D)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .building import build_index as build_index
    from .index import IndexReport as IndexReport
    from .index import MapIndex as MapIndex
    from .localizer import Localizer as Localizer
    from .options import LocalizationOptions as LocalizationOptions

_MODULE_OF = {
    "IndexReport": "index",
    "LocalizationOptions": "options",
    "Localizer": "localizer",
    "MapIndex": "index",
    "build_index": "building",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
