"""Maps: what they hold, and readers of their formats (spec 50 D1)."""

from .contents import DensePoints, ImagePoints, LocalizationMap, MapImage, SparsePoints

__all__ = ["DensePoints", "ImagePoints", "LocalizationMap", "MapImage", "SparsePoints"]
