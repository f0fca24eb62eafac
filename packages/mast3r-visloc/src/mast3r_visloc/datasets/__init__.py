"""Datasets: maps with queries, by the names that expressions use (spec 50 A2)."""

from .contract import Candidate, LocalizationDataset, Query, Thresholds

__all__ = ["Candidate", "LocalizationDataset", "Query", "Thresholds"]
