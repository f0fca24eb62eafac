"""How right a reconstruction's cameras are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .alignment import Similarity as Similarity
    from .alignment import align_cameras as align_cameras
    from .alignment import umeyama as umeyama
    from .cameras import CameraErrors as CameraErrors
    from .cameras import CameraEvaluation as CameraEvaluation
    from .cameras import compare_cameras as compare_cameras

_MODULE_OF = {
    "CameraErrors": "cameras",
    "CameraEvaluation": "cameras",
    "Similarity": "alignment",
    "align_cameras": "alignment",
    "compare_cameras": "cameras",
    "umeyama": "alignment",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
