"""Datasets: maps with queries, by the names that expressions use (spec 50 A2)."""

from .aachen import VislocAachenDayNight
from .cambridge import VislocCambridgeLandmarks
from .contract import Candidate, LocalizationDataset, Query, Thresholds
from .inloc import VislocInLoc
from .sevenscenes import VislocSevenScenes
from .visloc_dataset import VislocDataset

__all__ = [
    "Candidate",
    "LocalizationDataset",
    "Query",
    "Thresholds",
    "VislocAachenDayNight",
    "VislocCambridgeLandmarks",
    "VislocDataset",
    "VislocInLoc",
    "VislocSevenScenes",
]
