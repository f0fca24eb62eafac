"""Colours of a COLMAP model's points, from the pixels that the network saw."""

from __future__ import annotations

import numpy as np
import pycolmap

from mast3r_sfm.photos import ImageSet

from .convention import pixels_to_colmap


def color_points(
    model: pycolmap.Reconstruction, images: ImageSet, *, in_network_pixels: bool = False
) -> None:
    """Give every point the mean colour of the pixels that see it.

    COLMAP's own way reads every photo again, and fails where EXIF turns it.

    Args:
        model: in the photos' pixels, or the network's; changed.
        images: that it is made of, and maybe others.
        in_network_pixels: which of them.
    """
    seen: dict[int, np.ndarray] = {}
    by_name = {image.name: image for image in images}
    for image in model.images.values():
        source = by_name[image.name]
        xy = np.array([point.xy for point in image.points2D]).reshape(-1, 2)
        pixels = pixels_to_colmap(xy, inverse=True)
        if not in_network_pixels:
            pixels = source.transform.points_to_network(pixels)
        x, y = np.round(pixels).astype(np.int64).T
        height, width = source.shape
        seen[image.image_id] = source.pixels[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    for point in model.points3D.values():
        colors = [seen[element.image_id][element.point2D_idx] for element in point.track.elements]
        point.color = np.round(np.mean(colors, axis=0)).astype(np.uint8)
