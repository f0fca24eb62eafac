"""Sparse global alignment: from matches and canonical views to cameras and depths (spec 30, 5 to 7)."""

from .adam import Progress as Progress
from .align import Solver as Solver
from .align import align as align
from .alignment import Alignment as Alignment
from .alignment import StageReport as StageReport
from .build import CrossPointmap as CrossPointmap
from .build import build_problem as build_problem
from .cameras import Cameras as Cameras
from .cleaning import clean_pointcloud as clean_pointcloud
from .dense_points import DensePoints as DensePoints
from .dense_points import dense_points as dense_points
from .losses import GammaLoss as GammaLoss
from .low_rank import LowRankDepth as LowRankDepth
from .options import AdamOptions as AdamOptions
from .options import AlignOptions as AlignOptions
from .options import LmOptions as LmOptions
from .priors import CameraPriors as CameraPriors
from .problem import SparseProblem as SparseProblem
from .tree import KinematicTree as KinematicTree
from .tree import components as components
from .tree import connected_components as connected_components
from .tree import kinematic_tree as kinematic_tree

__all__ = [
    "AdamOptions",
    "AlignOptions",
    "Alignment",
    "CameraPriors",
    "Cameras",
    "CrossPointmap",
    "DensePoints",
    "GammaLoss",
    "KinematicTree",
    "LmOptions",
    "LowRankDepth",
    "Progress",
    "Solver",
    "SparseProblem",
    "StageReport",
    "align",
    "build_problem",
    "clean_pointcloud",
    "components",
    "connected_components",
    "dense_points",
    "kinematic_tree",
]
