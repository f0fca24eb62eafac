"""Matching photos larger than the network's input, window by window (spec 20 section 7)."""

from __future__ import annotations

from .covering import cover_windows
from .crops import Crop, WorkingPhoto, cut_window, working_photo
from .homography import RectifiedCrop, crop_to_homography, rectify_crop, warp_image
from .pipeline import match_coarse_to_fine
from .selection import (
    ScoredWindows,
    WindowPair,
    crop_slice,
    crop_tag,
    greedy_cover,
    score_cell,
    select_pairs_of_crops,
    select_windows,
)
from .windows import make_overlapping_grid, norm_windows, start_pos

__all__ = [
    "Crop",
    "RectifiedCrop",
    "ScoredWindows",
    "WindowPair",
    "WorkingPhoto",
    "cover_windows",
    "crop_slice",
    "crop_tag",
    "crop_to_homography",
    "cut_window",
    "greedy_cover",
    "make_overlapping_grid",
    "match_coarse_to_fine",
    "norm_windows",
    "rectify_crop",
    "score_cell",
    "select_pairs_of_crops",
    "select_windows",
    "start_pos",
    "warp_image",
    "working_photo",
]
