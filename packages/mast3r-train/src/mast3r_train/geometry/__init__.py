"""Geometry of views: scaling, crops, depth to points, correspondences (spec 40 section 3)."""

from .correspondences import Correspondences, reciprocal_pairs, reproject, sample_correspondences
from .homography import VirtualCamera, crop_homography, look_through, random_crops, warp_image
from .matching_pixels import PixelPairs, PointView, nearest_pixels, reciprocal_pixels
from .orientation import rotate_quarter_turns, to_landscape
from .pointmaps import camera_points, camera_points_of_map, world_points, world_points_of_map
from .rescaling import (
    ViewStyle,
    camera_matrix_of_crop,
    choose_orientation,
    crop,
    crop_around_principal_point,
    crop_resize,
    final_crop,
    rescale,
    resize_nearest,
    scaled_intrinsics,
)

__all__ = [
    "Correspondences",
    "PixelPairs",
    "PointView",
    "ViewStyle",
    "VirtualCamera",
    "camera_matrix_of_crop",
    "camera_points",
    "camera_points_of_map",
    "choose_orientation",
    "crop",
    "crop_around_principal_point",
    "crop_homography",
    "crop_resize",
    "final_crop",
    "look_through",
    "nearest_pixels",
    "random_crops",
    "reciprocal_pairs",
    "reciprocal_pixels",
    "reproject",
    "rescale",
    "resize_nearest",
    "rotate_quarter_turns",
    "sample_correspondences",
    "scaled_intrinsics",
    "to_landscape",
    "warp_image",
    "world_points",
    "world_points_of_map",
]
