"""Maps: what they hold, readers of their formats, and the 3D points behind their pixels (spec 50 D1)."""

from .colmap_map import find_colmap_model, open_colmap_model, read_colmap_map
from .contents import DensePoints, ImagePoints, LocalizationMap, MapImage, SparsePoints
from .depth_files import read_depth_file
from .depth_lifting import lift_depth
from .kapture_map import read_kapture_map
from .localized_model import write_localized_model
from .lookup import NetworkPoints, lookup, network_points
from .nerfstudio_map import read_nerfstudio_map
from .photo_files import PhotoFile, find_photo_files, photo_file, photo_folders
from .recognise import read_map
from .rgbd_map import read_rgbd_map
from .scene_map import read_scene_map
from .turning import in_file_pixels, turn_points

__all__ = [
    "DensePoints",
    "ImagePoints",
    "LocalizationMap",
    "MapImage",
    "NetworkPoints",
    "PhotoFile",
    "SparsePoints",
    "find_colmap_model",
    "find_photo_files",
    "in_file_pixels",
    "lift_depth",
    "lookup",
    "network_points",
    "open_colmap_model",
    "photo_file",
    "photo_folders",
    "read_colmap_map",
    "read_depth_file",
    "read_kapture_map",
    "read_map",
    "read_nerfstudio_map",
    "read_rgbd_map",
    "read_scene_map",
    "turn_points",
    "write_localized_model",
]
