"""Many pairs measured, and what they say together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mast3r_match.matches import Matches
from mast3r_match.matching import decode_for_matching
from mast3r_match.options import MatchOptions
from mast3r_match.predictions import match_prediction
from mast3r_model import AsymmetricCroCo3DStereo

from .measures import PairScores, measure_pair, pose_auc
from .posed_pairs import PosedPair


@dataclass(frozen=True)
class EvaluationSummary:
    """Means over pairs; angles in degrees, None where no pair has the truth.

    Attributes:
        pairs: number of pairs.
        matches: mean number of dense mutual matches.
        within_3px: mean share of matches within 3 pixels of the truth.
        rotation_under_5: share of pairs whose rotation is less than 5 degrees off.
        median_rotation_error: over pairs.
        median_translation_error: over pairs.
        pose_auc: area under the pose error curve, by threshold; of poses from the essential matrix.
        pointmap_rotation_under_5: as ``rotation_under_5``, of poses from the points.
        pointmap_pose_auc: as ``pose_auc``, of poses from the points.
        depth_error: median over pairs of the median relative depth error after scale alignment.
        covisibility: mean over pairs.
    """

    pairs: int
    matches: float
    within_3px: float | None
    rotation_under_5: float
    median_rotation_error: float
    median_translation_error: float
    pose_auc: dict[str, float]
    pointmap_rotation_under_5: float
    pointmap_pose_auc: dict[str, float]
    depth_error: float | None
    covisibility: float | None


@torch.no_grad()
def evaluate_pairs(
    model: AsymmetricCroCo3DStereo,
    pairs: Iterable[PosedPair],
    *,
    options: MatchOptions | None = None,
    threshold: float = 1.0,
) -> Iterator[PairScores]:
    """Match pairs densely and measure them.

    Args:
        model: a network, as `load_model` returns it.
        pairs: images and truth.
        options: how to match; all mutual nearest neighbours are taken whatever ``subsample`` says.
        threshold: of RANSAC, in network pixels.

    Yields:
        The scores of every pair.
    """
    options = dataclasses.replace(options or MatchOptions(), subsample=1, max_matches=None)
    for pair in pairs:
        features = model.encode([pair.image0, pair.image1])
        prediction, reverse = next(decode_for_matching(model, features, [(0, 1)], options))
        found = match_prediction(prediction, reverse=reverse, options=options)
        matches = Matches(
            found.xy0.cpu().numpy(), found.xy1.cpu().numpy(), found.confidence.cpu().numpy(), name0=pair.name
        )
        yield measure_pair(pair, prediction, matches, threshold=threshold)


def summarize(scores: Sequence[PairScores]) -> EvaluationSummary:
    """Put the scores of at least one pair together."""
    rotations = np.array([score.rotation_error for score in scores])
    return EvaluationSummary(
        pairs=len(scores),
        matches=float(np.mean([score.matches for score in scores])),
        within_3px=_mean([score.within_3px for score in scores]),
        rotation_under_5=float((rotations < 5).mean()),
        median_rotation_error=float(np.median(rotations)),
        median_translation_error=float(np.median([score.translation_error for score in scores])),
        pose_auc=pose_auc([score.pose_error for score in scores]),
        pointmap_rotation_under_5=float(np.mean([score.pointmap_rotation_error < 5 for score in scores])),
        pointmap_pose_auc=pose_auc([score.pointmap_pose_error for score in scores]),
        depth_error=_median([score.depth_error for score in scores]),
        covisibility=_mean([score.covisibility for score in scores]),
    )


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return float(np.mean(known)) if known else None


def _median(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return float(np.median(known)) if known else None
