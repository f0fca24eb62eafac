"""Files of localisation datasets (spec 50 A3, C1)."""

from .alignment import read_alignment
from .depth import read_depth, write_depth
from .kapture import Kapture, KaptureRecord, is_kapture, read_kapture
from .kapture_sensors import KaptureSensor
from .matlab_scan import read_scan
from .pairs import Pair, PairsForm, read_pairs, write_pairs
from .query_list import read_query_list
from .raw_photo import open_raw_photo

__all__ = [
    "Kapture",
    "KaptureRecord",
    "KaptureSensor",
    "Pair",
    "PairsForm",
    "is_kapture",
    "open_raw_photo",
    "read_alignment",
    "read_depth",
    "read_kapture",
    "read_pairs",
    "read_query_list",
    "read_scan",
    "write_depth",
    "write_pairs",
]
