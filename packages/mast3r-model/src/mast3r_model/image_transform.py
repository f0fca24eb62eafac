"""Between the photo's pixels and the network's pixels: points, intrinsics and maps, both ways.

A photo is resized and cropped before it enters the network, so that two pixel grids live side by side. An
`ImageTransform` says how they lie on each other. Both grids are in the pixel-centre convention: the integer
(x, y) is the centre of a pixel. "Original" means the photo after its EXIF orientation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from mast3r_model.errors import InputError

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, Tensor)
Sampling = Literal["nearest", "bilinear"]
PixelConvention = Literal["centre", "corner"]


@dataclass(frozen=True, eq=False)
class ImageTransform:
    """An axis-aligned map between a photo's pixel grid and the network input's.

    Attributes:
        original_shape: (height, width) of the upright photo.
        network_shape: (height, width) of the network's input.
        network_from_original: 3x3 float64, maps homogeneous (x, y, 1) of the photo to the network
            input, both in the pixel-centre convention. Only scales (positive) and offsets are non-zero.
    """

    original_shape: tuple[int, int]
    network_shape: tuple[int, int]
    network_from_original: Float64[np.ndarray, "3 3"]

    def __post_init__(self) -> None:
        """Check the matrix and freeze it.

        Raises:
            InputError: it is not a 3x3 matrix of positive scales and finite offsets.
        """
        matrix = np.array(self.network_from_original, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise InputError(
                f"network_from_original must be a finite 3x3 matrix with positive scales, got {matrix}"
            )
        if not np.array_equal(matrix, _scale_and_offset(matrix[[0, 1], [0, 1]], matrix[:2, 2])):
            raise InputError(f"network_from_original may only scale and shift along x and y, got {matrix}")
        matrix.setflags(write=False)
        for name, shape in (
            ("original_shape", self.original_shape),
            ("network_shape", self.network_shape),
        ):
            object.__setattr__(self, name, (int(shape[0]), int(shape[1])))
        object.__setattr__(self, "network_from_original", matrix)

    def __eq__(self, other: object) -> bool:
        """Two transforms are equal if shapes and matrix are, to the bit."""
        return isinstance(other, ImageTransform) and self._key() == other._key()

    def __hash__(self) -> int:
        """Hash of shapes and matrix."""
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self.original_shape, self.network_shape, self.network_from_original.tobytes()

    @classmethod
    def identity(cls, shape: tuple[int, int]) -> ImageTransform:
        """The transform of an image of (height, width) that goes into the network as it is."""
        return cls(shape, shape, np.eye(3))

    @classmethod
    def from_resize_and_crop(
        cls,
        original_shape: tuple[int, int],
        resized_shape: tuple[int, int],
        crop_box: tuple[int, int, int, int],
    ) -> ImageTransform:
        """The transform of "resize, then cut a box" (the image loader's way, spec 20 section 6).

        Args:
            original_shape: (height, width) of the photo.
            resized_shape: (height, width) after resizing.
            crop_box: (left, top, right, bottom) in pixels of the resized image.
        """
        left, top, right, bottom = crop_box
        scale = np.array([resized_shape[1] / original_shape[1], resized_shape[0] / original_shape[0]])  # x, y
        offset = 0.5 * scale - 0.5 - np.array([left, top], dtype=np.float64)
        return cls(original_shape, (bottom - top, right - left), _scale_and_offset(scale, offset))

    @classmethod
    def from_crop_and_resize(
        cls,
        original_shape: tuple[int, int],
        crop_box: tuple[float, float, float, float],
        network_shape: tuple[int, int],
    ) -> ImageTransform:
        """The transform of "cut a box, then resize it" (the datasets' way, spec 20 section 6).

        Args:
            original_shape: (height, width) of the photo.
            crop_box: (left, top, right, bottom) in pixels of the photo, fractions allowed.
            network_shape: (height, width) that the box is resized to.
        """
        left, top, right, bottom = crop_box
        scale = np.array([network_shape[1] / (right - left), network_shape[0] / (bottom - top)])
        offset = scale * (0.5 - np.array([left, top])) - 0.5
        return cls(original_shape, network_shape, _scale_and_offset(scale, offset))

    @property
    def original_from_network(self) -> Float64[np.ndarray, "3 3"]:
        """3x3 float64, the inverse of `network_from_original`, pixel-centre convention."""
        return _scale_and_offset(1.0 / self._scale, -self._offset / self._scale)

    @property
    def _scale(self) -> np.ndarray:
        return self.network_from_original[[0, 1], [0, 1]]

    @property
    def _offset(self) -> np.ndarray:
        return self.network_from_original[:2, 2]

    def matrix_to_original(self, *, pixels: PixelConvention = "centre") -> Float64[np.ndarray, "3 3"]:
        """The matrix from network to original pixels.

        Args:
            pixels: "centre" if an integer is a pixel's centre (ours, OpenCV); "corner" if the first pixel's
                centre is (0.5, 0.5) (COLMAP; upstream's `to_orig`).
        """
        return _in_convention(self.original_from_network, pixels)

    def matrix_to_network(self, *, pixels: PixelConvention = "centre") -> Float64[np.ndarray, "3 3"]:
        """The matrix from original to network pixels; `pixels` as in `matrix_to_original`."""
        return _in_convention(self.network_from_original, pixels)

    def points_to_network(self, points: ArrayOrTensor) -> ArrayOrTensor:
        """Move points from the photo to the network input.

        Args:
            points: (..., 2) array or tensor of (x, y) in original pixels.

        Returns:
            (..., 2) of the same kind in network pixels; the floating dtype is kept, integers become float64.
            Points outside the crop come out outside the network's image.
        """
        return _affine(points, self._scale, self._offset)

    def points_to_original(self, points: ArrayOrTensor) -> ArrayOrTensor:
        """Move points (..., 2) from the network input to the photo; see `points_to_network`."""
        return _affine(points, 1.0 / self._scale, -self._offset / self._scale)

    def intrinsics_to_network(self, intrinsics: ArrayOrTensor) -> ArrayOrTensor:
        """Intrinsics (..., 3, 3) in original pixels -> in network pixels (pixel-centre convention)."""
        return _left_multiply(self.network_from_original, intrinsics)

    def intrinsics_to_original(self, intrinsics: ArrayOrTensor) -> ArrayOrTensor:
        """Intrinsics (..., 3, 3) in network pixels -> in original pixels (pixel-centre convention)."""
        return _left_multiply(self.original_from_network, intrinsics)

    def map_to_original(
        self, values: ArrayOrTensor, *, sampling: Sampling = "bilinear", fill: float | bool | None = None
    ) -> ArrayOrTensor:
        """Bring a per-pixel map of the network input onto the photo's grid.

        Args:
            values: (height, width) or (height, width, channels) of the network input, array or tensor.
            sampling: "bilinear" (floating maps) or "nearest" (labels, masks; the default for them).
            fill: value of the photo's pixels that the crop left out; default NaN, or 0/False if not floating.

        Returns:
            (H, W) or (H, W, channels) of the photo, same kind and dtype.

        Raises:
            InputError: the map has another size than the network input.
        """
        columns, rows = self._grid(self.original_shape, to_network=True)
        return _sample(values, self.network_shape, rows, columns, sampling, fill)

    def map_to_network(
        self, values: ArrayOrTensor, *, sampling: Sampling = "nearest", fill: float | bool | None = None
    ) -> ArrayOrTensor:
        """Bring a per-pixel map of the photo (a mask, a depth map) onto the network input's grid.

        See `map_to_original`; every network pixel lies on the photo, so that `fill` is rarely needed. It
        samples and does not average: shrink a finely textured map yourself.
        """
        columns, rows = self._grid(self.network_shape, to_network=False)
        return _sample(values, self.original_shape, rows, columns, sampling, fill)

    def _grid(self, shape: tuple[int, int], *, to_network: bool) -> tuple[np.ndarray, np.ndarray]:
        """x of every column and y of every row of one grid, in pixels of the other."""
        longest = max(shape)
        diagonal = np.stack([np.arange(longest, dtype=np.float64)] * 2, axis=1)
        moved = self.points_to_network(diagonal) if to_network else self.points_to_original(diagonal)
        return moved[: shape[1], 0], moved[: shape[0], 1]


def _scale_and_offset(scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    return np.array([[scale[0], 0.0, offset[0]], [0.0, scale[1], offset[1]], [0.0, 0.0, 1.0]])


def _in_convention(matrix: np.ndarray, pixels: PixelConvention) -> np.ndarray:
    if pixels == "centre":
        return matrix
    scale = matrix[[0, 1], [0, 1]]
    return _scale_and_offset(scale, matrix[:2, 2] - 0.5 * scale + 0.5)


def _affine(points: ArrayOrTensor, scale: np.ndarray, offset: np.ndarray) -> ArrayOrTensor:
    if points.shape[-1:] != (2,):
        raise InputError(f"expected points of shape (..., 2) as (x, y), got shape {tuple(points.shape)}")
    if isinstance(points, Tensor):
        # MPS has no float64; there the work is done where float32 is all there is.
        working = torch.float32 if points.device.type == "mps" else torch.float64
        factor, shift = (torch.tensor(v, dtype=working, device=points.device) for v in (scale, offset))
        dtype = points.dtype if points.is_floating_point() else working
        return (points.to(working) * factor + shift).to(dtype)
    dtype = points.dtype if np.issubdtype(points.dtype, np.floating) else np.float64
    return (points.astype(np.float64) * scale + offset).astype(dtype)


def _left_multiply(matrix: np.ndarray, intrinsics: ArrayOrTensor) -> ArrayOrTensor:
    if intrinsics.shape[-2:] != (3, 3):
        raise InputError(f"expected intrinsics of shape (..., 3, 3), got shape {tuple(intrinsics.shape)}")
    if isinstance(intrinsics, Tensor):
        return torch.tensor(matrix, dtype=intrinsics.dtype, device=intrinsics.device) @ intrinsics
    return (matrix @ intrinsics).astype(np.result_type(intrinsics.dtype, np.float32))


def _sample(
    values: ArrayOrTensor,
    expected_shape: tuple[int, int],
    rows: np.ndarray,
    columns: np.ndarray,
    sampling: Sampling,
    fill: float | bool | None,
) -> ArrayOrTensor:
    """Sample an (h, w[, c]) map at the grid of fractional rows and columns, `fill` outside of it."""
    if tuple(values.shape[:2]) != expected_shape or values.ndim not in (2, 3):
        raise InputError(
            f"expected a map of (height, width) = {expected_shape} with at most one channel axis, "
            f"got shape {tuple(values.shape)}"
        )
    array: np.ndarray = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    floating = np.issubdtype(array.dtype, np.floating)
    if sampling == "bilinear" and not floating:
        if array.dtype != np.bool_:
            raise InputError(f"bilinear sampling needs a floating map, got {array.dtype}; use 'nearest'")
        sampling = "nearest"
    if fill is None:
        fill = np.nan if floating else 0
    if sampling == "nearest":
        sampled = array[_nearest(rows, expected_shape[0])][:, _nearest(columns, expected_shape[1])]
    else:
        sampled = _lerp(_lerp(array, rows, axis=0), columns, axis=1)
    sampled[_outside(rows, expected_shape[0])] = fill
    sampled[:, _outside(columns, expected_shape[1])] = fill
    if isinstance(values, Tensor):
        return torch.from_numpy(sampled).to(values.device)
    return sampled


def _nearest(positions: np.ndarray, length: int) -> np.ndarray:
    return np.clip(np.floor(positions + 0.5).astype(np.int64), 0, length - 1)


def _outside(positions: np.ndarray, length: int) -> np.ndarray:
    """Beyond the outer edge of the outermost pixels, with room for rounding on that very edge."""
    return (positions < -0.5 - 1e-9) | (positions > length - 0.5 + 1e-9)


def _lerp(array: np.ndarray, positions: np.ndarray, *, axis: int) -> np.ndarray:
    length = array.shape[axis]
    positions = np.clip(positions, 0, length - 1)
    below = np.minimum(np.floor(positions).astype(np.int64), length - 1)
    above = np.minimum(below + 1, length - 1)
    weight = (positions - below).astype(array.dtype)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(array.ndim)])
    low, high = np.take(array, below, axis=axis), np.take(array, above, axis=axis)
    # Where the weight is zero the other value must not count: it may be NaN or inf.
    return np.where(weight == 0, low, low * (1 - weight) + high * weight)
