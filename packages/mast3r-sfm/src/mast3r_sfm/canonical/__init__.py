"""One depthmap, confidence and focal per image, averaged over all its predictions (spec 30 section 4)."""

from .accumulator import CanonicalAccumulator as CanonicalAccumulator
from .accumulator import CanonicalView as CanonicalView
from .accumulator import canonical_view as canonical_view
from .anchors import anchor_grid_shape as anchor_grid_shape
from .anchors import anchors_of_pixels as anchors_of_pixels
from .anchors import pixel_grid as pixel_grid
from .focal import FocalMode as FocalMode
from .focal import estimate_focal as estimate_focal
from .focal import field_of_view_focal as field_of_view_focal
from .maps import CanonicalMaps as CanonicalMaps
from .maps import CanonicalMode as CanonicalMode

__all__ = [
    "CanonicalAccumulator",
    "CanonicalMaps",
    "CanonicalMode",
    "CanonicalView",
    "FocalMode",
    "anchor_grid_shape",
    "anchors_of_pixels",
    "canonical_view",
    "estimate_focal",
    "field_of_view_focal",
    "pixel_grid",
]
