"""The losses this package registers: name in an expression -> where it is (spec 40 sections 1.4 and 14).

Import strings, so that listing the names imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping

LOSSES: Mapping[str, str] = {
    "L21": "mast3r_train.losses.pixel:L21",
    "L21Loss": "mast3r_train.losses.pixel:L21Loss",
    "Regr3D": "mast3r_train.losses.regression:Regr3D",
    "Regr3D_ShiftInv": "mast3r_train.losses.regression:Regr3D_ShiftInv",
    "Regr3D_ScaleInv": "mast3r_train.losses.regression:Regr3D_ScaleInv",
    "Regr3D_ScaleShiftInv": "mast3r_train.losses.regression:Regr3D_ScaleShiftInv",
    "ConfLoss": "mast3r_train.losses.confidence:ConfLoss",
    "MatchingLoss": "mast3r_train.losses.matching:MatchingLoss",
    "ConfMatchingLoss": "mast3r_train.losses.matching:ConfMatchingLoss",
    "InfoNCE": "mast3r_train.losses.infonce:InfoNCE",
    "APLoss": "mast3r_train.losses.average_precision:APLoss",
    "MaskedMSE": "croco_backbone:MaskedMSE",
}
