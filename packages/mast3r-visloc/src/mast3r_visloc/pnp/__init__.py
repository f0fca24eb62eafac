"""Perspective-n-point: a camera's pose from 2D-3D correspondences (spec 50 A7, D5)."""

from .contract import PnPResult, PnPSolver

__all__ = ["PnPResult", "PnPSolver"]
