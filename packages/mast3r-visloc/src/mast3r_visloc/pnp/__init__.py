"""Perspective-n-point: a camera's pose from 2D-3D correspondences (spec 50 A7, D5)."""

from .chance import log10_chance_poses
from .contract import PnPResult, PnPSolver
from .estimate import estimate_pose, find_solver
from .reference import ReferenceMode, run_pnp
from .residuals import find_inliers, reprojection_errors
from .threshold import DEFAULT_THRESHOLD, check_threshold, parse_threshold, threshold_pixels

__all__ = [
    "DEFAULT_THRESHOLD",
    "PnPResult",
    "PnPSolver",
    "ReferenceMode",
    "check_threshold",
    "estimate_pose",
    "find_inliers",
    "find_solver",
    "log10_chance_poses",
    "parse_threshold",
    "reprojection_errors",
    "run_pnp",
    "threshold_pixels",
]
