"""Structure from motion with MASt3R: many photos to cameras, depth and points.

Names are imported on first use (PEP 562), so that ``import mast3r_sfm`` does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .appearance import Appearance as Appearance
    from .appearance import ViewFilters as ViewFilters
    from .cameras import PosedCameras as PosedCameras
    from .cameras import read_cameras as read_cameras
    from .dense import DenseAlignment as DenseAlignment
    from .dense import DenseOptions as DenseOptions
    from .dense import DenseProblem as DenseProblem
    from .dense import GlobalAlignerMode as GlobalAlignerMode
    from .dense import align_dense as align_dense
    from .dense import global_aligner as global_aligner
    from .evaluation import CameraEvaluation as CameraEvaluation
    from .evaluation import compare_cameras as compare_cameras
    from .extending import extend_scene as extend_scene
    from .known_cameras import KnownCameras as KnownCameras
    from .known_cameras import exif_focals as exif_focals
    from .options import DenseMapping as DenseMapping
    from .options import ReconstructionOptions as ReconstructionOptions
    from .pairs import graph_pairs as graph_pairs
    from .pairs import make_pairs as make_pairs
    from .photos import ImageSet as ImageSet
    from .photos import open_images as open_images
    from .predictions import PredictionCache as PredictionCache
    from .predictions import PredictionOptions as PredictionOptions
    from .predictions import TwoViewPrediction as TwoViewPrediction
    from .predictions import predict_pairs as predict_pairs
    from .progress import Progress as Progress
    from .reconstruct import reconstruct as reconstruct
    from .scene import DroppedImage as DroppedImage
    from .scene import PointCloud as PointCloud
    from .scene import Scene as Scene
    from .scene import SceneImage as SceneImage
    from .scene import Tracks as Tracks
    from .sparse import AdamOptions as AdamOptions
    from .sparse import Alignment as Alignment
    from .sparse import CameraPriors as CameraPriors
    from .sparse import LmOptions as LmOptions
    from .sparse import SparseProblem as SparseProblem
    from .sparse import align as align
    from .sparse import build_problem as build_problem
    from .tracks import tracks_from_matches as tracks_from_matches
    from .tsdf import fuse_depths as fuse_depths
    from .video import FrameChoice as FrameChoice
    from .view_filters import filtered as filtered
    from .view_filters import shown_confidence as shown_confidence
    from .viewing_frame import viewing_frame as viewing_frame

_MODULE_OF = {
    "AdamOptions": "sparse",
    "Alignment": "sparse",
    "Appearance": "appearance",
    "CameraEvaluation": "evaluation",
    "CameraPriors": "sparse",
    "DenseAlignment": "dense",
    "DenseMapping": "options",
    "DenseOptions": "dense",
    "DenseProblem": "dense",
    "DroppedImage": "scene",
    "FrameChoice": "video",
    "GlobalAlignerMode": "dense",
    "ImageSet": "photos",
    "KnownCameras": "known_cameras",
    "LmOptions": "sparse",
    "PointCloud": "scene",
    "PosedCameras": "cameras",
    "PredictionCache": "predictions",
    "PredictionOptions": "predictions",
    "Progress": "progress",
    "ReconstructionOptions": "options",
    "Scene": "scene",
    "SceneImage": "scene",
    "SparseProblem": "sparse",
    "Tracks": "scene",
    "TwoViewPrediction": "predictions",
    "ViewFilters": "appearance",
    "align": "sparse",
    "align_dense": "dense",
    "build_problem": "sparse",
    "compare_cameras": "evaluation",
    "exif_focals": "known_cameras",
    "filtered": "view_filters",
    "extend_scene": "extending",
    "fuse_depths": "tsdf",
    "global_aligner": "dense",
    "graph_pairs": "pairs",
    "make_pairs": "pairs",
    "open_images": "photos",
    "predict_pairs": "predictions",
    "read_cameras": "cameras",
    "reconstruct": "reconstruct",
    "shown_confidence": "view_filters",
    "tracks_from_matches": "tracks",
    "viewing_frame": "viewing_frame",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
