"""Dense (DUSt3R) global alignment: pointmaps of image pairs to cameras and depth of every pixel."""

from .alignment import Start as Start
from .alignment import align_dense as align_dense
from .completion import complete_depths as complete_depths
from .global_aligner import GlobalAlignerMode as GlobalAlignerMode
from .global_aligner import ModularPointCloudOptimizer as ModularPointCloudOptimizer
from .global_aligner import PairViewer as PairViewer
from .global_aligner import PointCloudOptimizer as PointCloudOptimizer
from .global_aligner import global_aligner as global_aligner
from .options import DenseOptions as DenseOptions
from .options import KnownCameras as KnownCameras
from .pair_viewer import view_pair as view_pair
from .problem import DenseProblem as DenseProblem
from .problem import EdgePrediction as EdgePrediction
from .problem import edges_of as edges_of
from .result import DenseAlignment as DenseAlignment
from .scene_aligner import SceneAligner as SceneAligner

__all__ = [
    "DenseAlignment",
    "DenseOptions",
    "DenseProblem",
    "EdgePrediction",
    "GlobalAlignerMode",
    "KnownCameras",
    "ModularPointCloudOptimizer",
    "PairViewer",
    "PointCloudOptimizer",
    "SceneAligner",
    "Start",
    "align_dense",
    "complete_depths",
    "edges_of",
    "global_aligner",
    "view_pair",
]
