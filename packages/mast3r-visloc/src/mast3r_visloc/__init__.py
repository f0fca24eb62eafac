"""Visual localisation: where was this photo taken, in a known map.

Names are imported on first use (PEP 562), so that ``import mast3r_visloc`` imports neither torch nor COLMAP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .cameras import Camera as Camera
    from .datasets import Candidate as Candidate
    from .datasets import LocalizationDataset as LocalizationDataset
    from .datasets import Query as Query
    from .maps import DensePoints as DensePoints
    from .maps import LocalizationMap as LocalizationMap
    from .maps import MapImage as MapImage
    from .maps import SparsePoints as SparsePoints
    from .pnp import PnPResult as PnPResult
    from .pnp import PnPSolver as PnPSolver
    from .poses import Correspondences as Correspondences
    from .poses import Pose as Pose

_MODULE_OF = {
    "Camera": "cameras",
    "Candidate": "datasets",
    "Correspondences": "poses",
    "DensePoints": "maps",
    "LocalizationDataset": "datasets",
    "LocalizationMap": "maps",
    "MapImage": "maps",
    "PnPResult": "pnp",
    "PnPSolver": "pnp",
    "Pose": "poses",
    "Query": "datasets",
    "SparsePoints": "maps",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
