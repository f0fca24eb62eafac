"""Photos in: one loader for the whole project (spec 10 S10.1)."""

from mast3r_model.images.crop_and_resize import (
    apply_transform,
    crop_and_resize_transform,
    nearest_network_shape,
)
from mast3r_model.images.exif import exif_focal
from mast3r_model.images.loading import LoadedImage, load_image, load_images
from mast3r_model.images.masks import load_mask
from mast3r_model.images.reading import has_photo_suffix, open_photo, read_rgb

__all__ = [
    "LoadedImage",
    "apply_transform",
    "crop_and_resize_transform",
    "exif_focal",
    "has_photo_suffix",
    "load_image",
    "load_images",
    "load_mask",
    "nearest_network_shape",
    "open_photo",
    "read_rgb",
]
