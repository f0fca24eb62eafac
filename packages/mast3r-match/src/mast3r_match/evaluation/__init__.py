"""How right matches, poses and points are on pairs whose truth is known (spec 60 F1, spec 70)."""

from __future__ import annotations

from .measures import PairScores, pose_auc
from .posed_pairs import PosedPair, pairs_of_dataset, read_pair_list
from .runner import EvaluationSummary, evaluate_pairs, summarize

__all__ = [
    "EvaluationSummary",
    "PairScores",
    "PosedPair",
    "evaluate_pairs",
    "pairs_of_dataset",
    "pose_auc",
    "read_pair_list",
    "summarize",
]
