"""Who computes the predictions: one device, several, or a Ray cluster (hook `mast3r_engines`)."""

from .contract import Engine

__all__ = ["Engine"]
