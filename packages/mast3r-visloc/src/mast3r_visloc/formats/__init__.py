"""Files of localisation datasets (spec 50 A3, C1)."""

from .raw_photo import open_raw_photo

__all__ = ["open_raw_photo"]
