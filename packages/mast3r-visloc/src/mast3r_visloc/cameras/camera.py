"""A camera: model, size and parameters, in one typed object (spec 50 B, trap 13)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pycolmap
from jaxtyping import Float

from mast3r_model import InputError

PixelConvention = Literal["centre", "corner"]
"""``centre``: an integer is a pixel's centre (OpenCV, ours). ``corner``: the first pixel's centre is 0.5."""

MAX_SIDE = 1_000_000
"""Pixels; more is a mistake."""


@dataclass(frozen=True)
class Camera:
    """A camera of one of COLMAP's models.

    Attributes:
        model: COLMAP's name, such as ``SIMPLE_RADIAL``.
        width: of its images, in pixels.
        height: of its images, in pixels.
        params: COLMAP's parameters in COLMAP's order and pixel convention (the first pixel's centre is 0.5).
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no camera.

        Raises:
            InputError: unknown model, wrong number of parameters, a size or focal length that is not
                positive, or a panorama, which has none.
        """
        object.__setattr__(self, "params", tuple(float(value) for value in self.params))
        if not 1 <= min(self.width, self.height) <= max(self.width, self.height) <= MAX_SIDE:
            raise InputError(
                f"a camera of {self.width}x{self.height} pixels", f"sides are from 1 to {MAX_SIDE} pixels"
            )
        expected = len(self.to_colmap(check=False).params)
        if len(self.params) != expected:
            raise InputError(
                f"camera model {self.model} has {expected} parameters, got {len(self.params)}",
                f"the parameters of {self.model} are {self.to_colmap(check=False).params_info}",
            )
        if not np.isfinite(self.params).all():
            raise InputError(f"the parameters of a camera must be finite, got {self.params}")
        if not self.focal_lengths:
            raise InputError(
                f"cameras of model {self.model} have no focal length and cannot be used here",
                "cut perspective views out of panoramas first",
            )
        if min(self.focal_lengths) <= 0:
            raise InputError(f"the focal length of a camera must be positive, got {self.focal_lengths}")

    @classmethod
    def from_sensor(
        cls, model: str, size_wh: tuple[int, int], params: Sequence[float], pixels: PixelConvention
    ) -> Camera:
        """A camera whose parameters may be written in either pixel convention.

        Args:
            model: COLMAP's name.
            size_wh: (width, height) of its images.
            params: parameters in COLMAP's order.
            pixels: what the principal point among them means.

        Raises:
            InputError: as for the class.
        """
        made = cls(model, *size_wh, tuple(params))
        return made if pixels == "corner" else made.shifted(0.5)

    @classmethod
    def from_intrinsics(
        cls, intrinsics: Float[np.ndarray, "3 3"], shape: tuple[int, int], distortion: Sequence[float] = ()
    ) -> Camera:
        """PINHOLE or, with (k1, k2, p1, p2), OPENCV.

        Args:
            intrinsics: 3x3, an integer being a pixel's centre, without skew.
            shape: (height, width) of the images.
            distortion: none, or OpenCV's first four coefficients.

        Raises:
            InputError: skew, another number of coefficients, or as for the class.
        """
        matrix = np.asarray(intrinsics, dtype=np.float64)
        if matrix.shape != (3, 3) or matrix[0, 1] != 0:
            raise InputError(f"intrinsics must be a 3x3 matrix without skew, got {matrix.tolist()}")
        params = [*matrix[[0, 1, 0, 1], [0, 1, 2, 2]], *distortion]
        model = "OPENCV" if len(distortion) else "PINHOLE"
        return cls.from_sensor(model, (shape[1], shape[0]), params, "centre")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of its images."""
        return self.height, self.width

    @property
    def focal_lengths(self) -> tuple[float, ...]:
        """One focal length in pixels, or two (x, y)."""
        return tuple(self.params[index] for index in self.to_colmap(check=False).focal_length_idxs())

    @property
    def intrinsics(self) -> Float[np.ndarray, "3 3"]:
        """3x3 float64, an integer being a pixel's centre; distortion left out."""
        matrix = np.array(self.to_colmap().calibration_matrix(), dtype=np.float64)
        matrix[:2, 2] -= 0.5
        return matrix

    def shifted(self, pixels: float) -> Camera:
        """The principal point moved by so much along x and y."""
        params = list(self.params)
        for index in self.to_colmap().principal_point_idxs():
            params[index] += pixels
        return dataclasses.replace(self, params=tuple(params))

    def to_colmap(self, *, camera_id: int = 1, check: bool = True) -> pycolmap.Camera:
        """COLMAP's own object.

        Args:
            camera_id: its id.
            check: set the parameters; without, the object has the model's defaults.

        Raises:
            InputError: an unknown model.
        """
        try:
            camera = pycolmap.Camera.create_from_model_name(
                camera_id, self.model, 1.0, self.width, self.height
            )
        except (ValueError, RuntimeError, KeyError):
            known = ", ".join(
                sorted(name for name in pycolmap.CameraModelId.__members__ if name != "INVALID")
            )
            raise InputError(f"unknown camera model {self.model!r}", f"COLMAP's models: {known}") from None
        if check:
            camera.params = list(self.params)
            camera.has_prior_focal_length = True
        return camera

    @classmethod
    def from_colmap(cls, camera: pycolmap.Camera) -> Camera:
        """From COLMAP's own object."""
        return cls(camera.model.name, camera.width, camera.height, tuple(camera.params))
