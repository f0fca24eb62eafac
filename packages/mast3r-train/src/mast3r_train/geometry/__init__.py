"""Geometry of views: depth to points, reprojection, correspondences (spec 40 section 3)."""

from .correspondences import reciprocal_pairs, reproject, sample_correspondences
from .pointmaps import camera_points, world_points

__all__ = [
    "camera_points",
    "reciprocal_pairs",
    "reproject",
    "sample_correspondences",
    "world_points",
]
