"""Removing the lens distortion of ScanNet++'s photos as upstream does (spec 41 section 7)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mast3r_model import InputError

from .colmap_text import ColmapCamera


@dataclass(frozen=True, eq=False)
class Undistortion:
    """From photos of a camera to those of a pinhole camera of the same size.

    Attributes:
        matrix: intrinsics of the photo, the first pixel's centre at (0, 0).
        distortion: four numbers, of the fisheye model or of OpenCV's usual one.
        is_fisheye: which of them.
        size_wh: of both photos.
        new_matrix: intrinsics of the pinhole camera.
    """

    matrix: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " 4"]
    is_fisheye: bool
    size_wh: tuple[int, int]
    new_matrix: Float[np.ndarray, "3 3"]

    @classmethod
    def of(cls, camera: ColmapCamera) -> Undistortion:
        """Of a camera ``OPENCV_FISHEYE`` or ``OPENCV``.

        Raises:
            InputError: another camera model.
        """
        if camera.model not in ("OPENCV_FISHEYE", "OPENCV"):
            raise InputError(f"camera model {camera.model}, expected OPENCV_FISHEYE or OPENCV")
        size = (camera.width, camera.height)
        matrix, distortion = camera.matrix, np.array(camera.distortion)
        matrix[:2, 2] -= 0.5
        if camera.model == "OPENCV_FISHEYE":
            new = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
                matrix, distortion, size, np.eye(3), balance=0
            )
            new = np.array(new, dtype=np.float64)
            new[:2, 2] = size[0] / 2, size[1] / 2
            return cls(matrix, distortion, True, size, new)
        new, _ = cv2.getOptimalNewCameraMatrix(
            matrix, distortion, size, alpha=1, newImgSize=size, centerPrincipalPoint=True
        )
        return cls(matrix, distortion, False, size, np.array(new, dtype=np.float64))

    def apply(
        self, photo: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"]
    ) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """Photo (reflected beyond its border) and mask (255 beyond it) as the pinhole camera has them."""
        make_maps = cv2.fisheye.initUndistortRectifyMap if self.is_fisheye else cv2.initUndistortRectifyMap
        maps = make_maps(self.matrix, self.distortion, np.eye(3), self.new_matrix, self.size_wh, cv2.CV_32FC1)
        photo = cv2.remap(photo, *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        mask = cv2.remap(
            mask, *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=255
        )
        return np.asarray(photo), np.asarray(mask)
