"""Depth and confidence of every image as float32 TIFF files.

TIFF of 32-bit floats keeps the numbers as they are (a 16-bit PNG in millimetres would round them and end at
65 m), and Pillow, OpenCV, ImageJ, GDAL and GIMP open it.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image, TiffImagePlugin

if TYPE_CHECKING:
    from mast3r_sfm.scene import Scene

PREDICTOR_TAG = 317
FLOATING_POINT_PREDICTOR = 3
"""libtiff's predictor for floats: deflate then shrinks smooth depth to about a third."""


def write_depth_maps(scene: Scene, folder: Path, *, original_size: bool = True) -> list[Path]:
    """Write ``depth/`` and ``confidence/``, each with ``network/`` and ``original/``, one TIFF per image.

    The file of photo ``a/b.jpg`` is ``depth/network/a/b.jpg.tiff``. Depth is the camera's z in world units.
    ``network`` holds the values at the network input's size as they are; ``original`` holds them at the
    photo's size, interpolated linearly. 0 stands where nothing is known: the network's input was cut off
    there, or a pixel has no depth.

    Args:
        scene: to write.
        folder: to write into.
        original_size: write the large maps too.
    """
    written = []
    for image in scene.images:
        for kind, values in (("depth", image.depth), ("confidence", image.confidence)):
            sizes = {"network": values}
            if original_size:
                sizes["original"] = np.nan_to_num(image.transform.map_to_original(values, fill=0.0))
            for size, array in sizes.items():
                path = folder / kind / size / f"{image.name}.tiff"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_float_tiff(path, array)
                written.append(path)
    return written


def write_float_tiff(path: Path, values: Float[np.ndarray, "h w"]) -> None:
    """Write a map as 32-bit floats, deflated."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    encoded = BytesIO()  # writing to the file itself, Pillow would not say that the disk is full
    tags = {PREDICTOR_TAG: FLOATING_POINT_PREDICTOR}
    image.save(encoded, format="TIFF", compression="tiff_adobe_deflate", tiffinfo=tags)
    path.write_bytes(_without_garbage(encoded))


def _without_garbage(encoded: BytesIO) -> bytes:
    """The TIFF with 0 between its pixels and its directory, where libtiff leaves a byte of old memory."""
    data = bytearray(encoded.getvalue())
    with Image.open(encoded) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        tags = image.tag_v2
        strips = zip(tags[TiffImagePlugin.STRIPOFFSETS], tags[TiffImagePlugin.STRIPBYTECOUNTS], strict=True)
        end = max(start + count for start, count in strips)
    directory = int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big")
    if end < directory:
        data[end:directory] = bytes(directory - end)
    return bytes(data)


def read_float_tiff(path: Path) -> Float[np.ndarray, "h w"]:
    """Read a map that `write_float_tiff` wrote."""
    with Image.open(path) as image:
        return np.array(image, dtype=np.float32)
