"""The four benchmarks' releases into the folders that their dataset classes read (spec 50 D8)."""

from .contract import (
    BenchmarkName,
    CandidateFinder,
    CandidateRequest,
    PairMatcher,
    Points,
    PreparationReport,
    PreparationRequest,
)
from .prepare import PLANS, prepare

BENCHMARKS = tuple(PLANS)

__all__ = [
    "BENCHMARKS",
    "BenchmarkName",
    "CandidateFinder",
    "CandidateRequest",
    "PairMatcher",
    "Points",
    "PreparationReport",
    "PreparationRequest",
    "prepare",
]
