"""Cameras: what they are, what they see, and where that of a query comes from (spec 50 D4)."""

from .camera import Camera, PixelConvention
from .changes import scaled, turned, with_focal
from .fitting import PhotoCameraError, fitted
from .projection import corner_pixels, normalized, project, unproject
from .query import LISTED, FocalChoice, FocalMode, QueryCamera, parse_camera, query_camera

__all__ = [
    "LISTED",
    "Camera",
    "FocalChoice",
    "FocalMode",
    "PhotoCameraError",
    "PixelConvention",
    "QueryCamera",
    "corner_pixels",
    "fitted",
    "normalized",
    "parse_camera",
    "project",
    "query_camera",
    "scaled",
    "turned",
    "unproject",
    "with_focal",
]
