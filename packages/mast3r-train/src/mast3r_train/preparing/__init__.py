"""From public releases to the folders that the datasets read: ``mast3r data prepare`` (spec 41)."""

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareReport, PrepareRequest, run_preparation
from .pair_candidates import candidate_pairs
from .pair_scoring import ChosenPairs, PairScores, PairSettings, SceneGeometry, choose_pairs, score_pairs

__all__ = [
    "ChosenPairs",
    "Frame",
    "PairScores",
    "PairSettings",
    "Preparation",
    "PrepareReport",
    "PrepareRequest",
    "SceneGeometry",
    "candidate_pairs",
    "choose_pairs",
    "prepare_command",
    "run_preparation",
    "score_pairs",
]
