"""Geometry of views: depth to points, reprojection, correspondences (spec 40 section 3)."""

from .correspondences import NO_MATCH, reciprocal_pairs, reproject, sample_correspondences
from .pointmaps import camera_points, world_points

__all__ = [
    "NO_MATCH",
    "camera_points",
    "reciprocal_pairs",
    "reproject",
    "sample_correspondences",
    "world_points",
]
