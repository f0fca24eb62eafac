"""Training losses and their arithmetic (spec 40 section 8). Names are resolved on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from mast3r_train.losses.average_precision import APLoss as APLoss
    from mast3r_train.losses.base import Details as Details
    from mast3r_train.losses.base import Loss as Loss
    from mast3r_train.losses.base import MatchingCriterion as MatchingCriterion
    from mast3r_train.losses.base import PixelLoss as PixelLoss
    from mast3r_train.losses.base import WeightedSum as WeightedSum
    from mast3r_train.losses.confidence import ConfLoss as ConfLoss
    from mast3r_train.losses.infonce import InfoNCE as InfoNCE
    from mast3r_train.losses.matching import ConfMatchingLoss as ConfMatchingLoss
    from mast3r_train.losses.matching import MatchingLoss as MatchingLoss
    from mast3r_train.losses.normalization import PointNormalization as PointNormalization
    from mast3r_train.losses.pixel import L21 as L21
    from mast3r_train.losses.pixel import L21Loss as L21Loss
    from mast3r_train.losses.pixel import PixelCriterion as PixelCriterion
    from mast3r_train.losses.regression import Regr3D as Regr3D
    from mast3r_train.losses.regression import Regr3D_ScaleInv as Regr3D_ScaleInv
    from mast3r_train.losses.regression import Regr3D_ScaleShiftInv as Regr3D_ScaleShiftInv
    from mast3r_train.losses.regression import Regr3D_ShiftInv as Regr3D_ShiftInv

_MODULE_OF = {
    "APLoss": "average_precision",
    "ConfLoss": "confidence",
    "ConfMatchingLoss": "matching",
    "Details": "base",
    "InfoNCE": "infonce",
    "L21": "pixel",
    "L21Loss": "pixel",
    "Loss": "base",
    "MatchingCriterion": "base",
    "MatchingLoss": "matching",
    "PixelCriterion": "pixel",
    "PixelLoss": "base",
    "PointNormalization": "normalization",
    "Regr3D": "regression",
    "Regr3D_ScaleInv": "regression",
    "Regr3D_ScaleShiftInv": "regression",
    "Regr3D_ShiftInv": "regression",
    "WeightedSum": "base",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
