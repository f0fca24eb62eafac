"""Options of the solvers (spec 30 section 6.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from .losses import GammaLoss
from .low_rank import LowRankDepth

_COARSE, _FINE, _FALLBACK = GammaLoss(1.5), GammaLoss(0.5), GammaLoss(1.1)


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """What both solvers understand.

    Attributes:
        fine: after the coarse 3D stage, also minimise reprojection errors.
        optimize_principal_point: free in the fine stage.
        optimize_depth: anchors' depths are free in the fine stage.
        coarse_loss: of distances between matched points.
        fine_loss: of reprojection errors in pixels.
        fallback_loss: of distances to the network's points, for pairs that are not matched.
        fallback_weight: of the fallback loss, in both stages.
    """

    fine: bool = True
    optimize_principal_point: bool = True
    optimize_depth: bool = True
    coarse_loss: GammaLoss = _COARSE
    fine_loss: GammaLoss = _FINE
    fallback_loss: GammaLoss = _FALLBACK
    fallback_weight: float = 0.01


@dataclass(frozen=True, kw_only=True)
class AdamOptions(AlignOptions):
    """Upstream's first-order schedule.

    Attributes:
        tree: ``hclust-ward`` or another linkage, or ``mst``: along which poses are chained.
        coarse_lr: learning rate of the coarse stage, annealed to 0 by a cosine.
        coarse_iterations: steps of the coarse stage.
        fine_lr: learning rate of the fine stage.
        fine_iterations: steps of the fine stage.
        depth_mode: ``add`` (relief added to the pivot's depth) or ``mul``.
        exp_depth: depth parameters are logarithms.
        low_rank_depth: depth as a combination of a few smooth functions.
        dtype: float32 as upstream, or float64.
        strict_parity: as upstream, also where that is a defect: the root drifts freely, and shared intrinsics
            take steps that are as many times larger as images share them.
    """

    tree: str = "hclust-ward"
    coarse_lr: float = 0.07
    coarse_iterations: int = 300
    fine_lr: float = 0.01
    fine_iterations: int = 300
    depth_mode: Literal["add", "mul"] = "add"
    exp_depth: bool = False
    low_rank_depth: LowRankDepth | None = None
    dtype: torch.dtype = torch.float32
    strict_parity: bool = False


@dataclass(frozen=True, kw_only=True)
class LmOptions(AlignOptions):
    """The second-order solver; float64 throughout.

    The standard deviations are of priors that hold what the matches leave undetermined: on shallow scenes the
    fine loss trades focal, principal point and pose against each other (spec 30 sections 6.8 and 13.3). With
    them the fine loss ends up to about one percent above the lowest one, and cameras are several times nearer
    to the truth; :meth:`without_priors` is for the lowest loss.
    ``math.inf`` switches a prior off.

    Attributes:
        coarse_iterations: most steps of the coarse stage.
        coarse_tolerance: the coarse stage ends when a step lowers the loss by less than this fraction.
        fine_iterations: most steps of the fine stage.
        fine_tolerance: likewise for the fine stage.
        principal_point_sigma: prior on the principal point, as a fraction of the image's size.
        log_focal_sigma: prior on the log focal around the canonical one; None takes the spread of the image's
            single predictions, and more where the predictions' depths disagree.
        depth_sigma: prior on log depth of an anchor of median confidence around the canonical one; None takes
            0.04, and more where the predictions' depths disagree.
        pixel_noise: scale of reprojection errors in pixels; what a match counts against the priors.
        dense_limit: the largest number of unknowns that is solved by a dense factorisation.
    """

    coarse_iterations: int = 50
    coarse_tolerance: float = 1e-6
    fine_iterations: int = 60
    fine_tolerance: float = 1e-5
    principal_point_sigma: float = 0.01
    log_focal_sigma: float | None = None
    depth_sigma: float | None = None
    pixel_noise: float = 1.0
    dense_limit: int = 1500

    @classmethod
    def without_priors(cls) -> LmOptions:
        """Only the losses, as upstream minimises them."""
        return cls(
            principal_point_sigma=math.inf,
            log_focal_sigma=math.inf,
            depth_sigma=math.inf,
            fine_iterations=200,
            fine_tolerance=1e-6,
        )
