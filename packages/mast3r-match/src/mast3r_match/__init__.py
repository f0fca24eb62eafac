"""Image matching with MASt3R: correspondences between two images or many pairs.

Names are imported on first use (PEP 562), so that ``import mast3r_match`` does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .coarse_to_fine import WindowPair as WindowPair
    from .coarse_to_fine import WorkingPhoto as WorkingPhoto
    from .coarse_to_fine import cover_windows as cover_windows
    from .coarse_to_fine import crop_slice as crop_slice
    from .coarse_to_fine import crop_tag as crop_tag
    from .coarse_to_fine import crop_to_homography as crop_to_homography
    from .coarse_to_fine import cut_window as cut_window
    from .coarse_to_fine import match_coarse_to_fine as match_coarse_to_fine
    from .coarse_to_fine import rectify_crop as rectify_crop
    from .coarse_to_fine import select_pairs_of_crops as select_pairs_of_crops
    from .coarse_to_fine import select_windows as select_windows
    from .coarse_to_fine import working_photo as working_photo
    from .correspondences import Correspondences as Correspondences
    from .correspondences import DescriptorMaps as DescriptorMaps
    from .correspondences import match_confident_pixels as match_confident_pixels
    from .correspondences import match_maps as match_maps
    from .correspondences import match_symmetric as match_symmetric
    from .inputs import find_masks as find_masks
    from .inputs import find_photos as find_photos
    from .matches import Matches as Matches
    from .matching import match_images as match_images
    from .matching import match_pairs as match_pairs
    from .merge import merge_corres as merge_corres
    from .nearest import BACKENDS as BACKENDS
    from .nearest import DescriptorIndex as DescriptorIndex
    from .nearest import NearestNeighbors as NearestNeighbors
    from .nearest import nearest_neighbors as nearest_neighbors
    from .options import MatchOptions as MatchOptions
    from .predictions import match_prediction as match_prediction
    from .reciprocal import ReciprocalMatches as ReciprocalMatches
    from .reciprocal import reciprocal_nearest_neighbors as reciprocal_nearest_neighbors
    from .retrieval import AsmkRetriever as AsmkRetriever
    from .retrieval import EncoderRetriever as EncoderRetriever
    from .retrieval import Retriever as Retriever
    from .retrieval import asmk_similarity as asmk_similarity
    from .retrieval import image_similarity as image_similarity
    from .retrieval import make_retriever as make_retriever
    from .retrieval import read_retrieval_checkpoint as read_retrieval_checkpoint
    from .upstream import bruteforce_reciprocal_nns as bruteforce_reciprocal_nns
    from .upstream import cdistMatcher as cdistMatcher
    from .upstream import extract_correspondences as extract_correspondences
    from .upstream import extract_correspondences_nonsym as extract_correspondences_nonsym
    from .upstream import fast_reciprocal_NNs as fast_reciprocal_NNs
    from .verify import Verification as Verification
    from .verify import verify_matches as verify_matches
    from .viz import draw_matches as draw_matches
    from .viz import save_match_picture as save_match_picture

_MODULE_OF = {
    "AsmkRetriever": "retrieval",
    "BACKENDS": "nearest",
    "Correspondences": "correspondences",
    "DescriptorIndex": "nearest",
    "DescriptorMaps": "correspondences",
    "EncoderRetriever": "retrieval",
    "MatchOptions": "options",
    "Matches": "matches",
    "NearestNeighbors": "nearest",
    "ReciprocalMatches": "reciprocal",
    "Retriever": "retrieval",
    "Verification": "verify",
    "WindowPair": "coarse_to_fine",
    "WorkingPhoto": "coarse_to_fine",
    "asmk_similarity": "retrieval",
    "bruteforce_reciprocal_nns": "upstream",
    "cdistMatcher": "upstream",
    "cover_windows": "coarse_to_fine",
    "crop_slice": "coarse_to_fine",
    "crop_tag": "coarse_to_fine",
    "crop_to_homography": "coarse_to_fine",
    "cut_window": "coarse_to_fine",
    "draw_matches": "viz",
    "extract_correspondences": "upstream",
    "extract_correspondences_nonsym": "upstream",
    "fast_reciprocal_NNs": "upstream",
    "find_masks": "inputs",
    "find_photos": "inputs",
    "image_similarity": "retrieval",
    "make_retriever": "retrieval",
    "match_coarse_to_fine": "coarse_to_fine",
    "match_confident_pixels": "correspondences",
    "match_images": "matching",
    "match_maps": "correspondences",
    "match_pairs": "matching",
    "match_prediction": "predictions",
    "match_symmetric": "correspondences",
    "merge_corres": "merge",
    "nearest_neighbors": "nearest",
    "read_retrieval_checkpoint": "retrieval",
    "reciprocal_nearest_neighbors": "reciprocal",
    "rectify_crop": "coarse_to_fine",
    "save_match_picture": "viz",
    "select_pairs_of_crops": "coarse_to_fine",
    "select_windows": "coarse_to_fine",
    "verify_matches": "verify",
    "working_photo": "coarse_to_fine",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
