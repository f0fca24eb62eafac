"""InLoc's scans: a MATLAB file with a 3D point for every pixel of a cutout (spec 50 A3.5)."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float64
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from mast3r_model import InputError
from mast3r_visloc.reasons import reason

VARIABLE = "XYZcut"


def read_scan(path: str | os.PathLike[str]) -> Float64[np.ndarray, "h w 3"]:
    """Read the 3D points of a cutout, in the scan's frame, NaN where the scanner saw nothing.

    Raises:
        InputError: missing, no MATLAB file before version 7.3, or without the array.
    """
    try:
        variables = loadmat(os.fspath(path), appendmat=False, variable_names=[VARIABLE])
    except (OSError, MatReadError, NotImplementedError, ValueError, TypeError, EOFError) as error:
        raise InputError(
            f"cannot read the scan {path}: {reason(error)}", "expected a MATLAB 5 file"
        ) from None
    points = variables.get(VARIABLE)
    if not isinstance(points, np.ndarray) or points.ndim != 3 or points.shape[2] != 3:
        raise InputError(f"the scan {path} has no array {VARIABLE} of height x width x 3")
    if not np.issubdtype(points.dtype, np.floating):
        raise InputError(f"{VARIABLE} in the scan {path} must hold real numbers, got {points.dtype}")
    return points.astype(np.float64)
