"""The package's surface: an inventory of names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import mast3r_match

PUBLIC = {
    "AsmkRetriever",
    "BACKENDS",
    "Correspondences",
    "DescriptorIndex",
    "DescriptorMaps",
    "EncoderRetriever",
    "MatchOptions",
    "Matches",
    "NearestNeighbors",
    "ReciprocalMatches",
    "Retriever",
    "Verification",
    "WindowPair",
    "WorkingPhoto",
    "asmk_similarity",
    "bruteforce_reciprocal_nns",
    "cdistMatcher",
    "cover_windows",
    "crop_slice",
    "crop_tag",
    "crop_to_homography",
    "cut_window",
    "draw_matches",
    "extract_correspondences",
    "extract_correspondences_nonsym",
    "fast_reciprocal_NNs",
    "find_masks",
    "find_photos",
    "image_similarity",
    "make_retriever",
    "match_coarse_to_fine",
    "match_confident_pixels",
    "match_images",
    "match_maps",
    "match_pairs",
    "match_prediction",
    "match_symmetric",
    "merge_corres",
    "nearest_neighbors",
    "read_retrieval_checkpoint",
    "reciprocal_nearest_neighbors",
    "rectify_crop",
    "save_match_picture",
    "select_pairs_of_crops",
    "select_windows",
    "verify_matches",
    "working_photo",
}


def test_inventory() -> None:
    """Removing or adding a name is a decision: change this list with it."""
    assert set(mast3r_match.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(mast3r_match, name) is not None
    assert set(dir(mast3r_match)) >= PUBLIC


def test_importing_imports_nothing_heavy() -> None:
    script = "import sys, mast3r_match; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
