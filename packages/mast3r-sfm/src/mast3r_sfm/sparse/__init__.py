"""Sparse global alignment: from matches and canonical views to cameras and depths (spec 30, 5 to 7)."""

from .build import CrossPointmap as CrossPointmap
from .build import build_problem as build_problem
from .priors import CameraPriors as CameraPriors
from .problem import SparseProblem as SparseProblem

__all__ = ["CameraPriors", "CrossPointmap", "SparseProblem", "build_problem"]
