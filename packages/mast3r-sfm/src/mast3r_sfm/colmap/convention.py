"""Between our pixels and COLMAP's: the one place that knows the difference.

Our integer (x, y) is the CENTRE of a pixel; COLMAP puts the centre of the first pixel at (0.5, 0.5).
nerfstudio follows COLMAP.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

CENTRE = 0.5


def pixels_to_colmap(values: Float[np.ndarray, "*batch n"], *, inverse: bool = False) -> np.ndarray:
    """Pixels (..., 2), or intrinsics (..., 3, 3), from our convention to COLMAP's.

    Args:
        values: in our convention.
        inverse: from COLMAP's convention to ours instead.
    """
    shifted = np.array(values, dtype=np.float64)
    amount = -CENTRE if inverse else CENTRE
    if shifted.shape[-2:] == (3, 3):
        shifted[..., :2, 2] += amount
    elif shifted.shape[-1:] == (2,):
        shifted += amount
    else:
        raise ValueError(f"expected pixels (..., 2) or intrinsics (..., 3, 3), got {shifted.shape}")
    return shifted
