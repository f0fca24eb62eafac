"""From public releases to the folders that the datasets read: ``mast3r data prepare`` (spec 41)."""

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareReport, PrepareRequest, run_preparation

__all__ = [
    "Frame",
    "Preparation",
    "PrepareReport",
    "PrepareRequest",
    "prepare_command",
    "run_preparation",
]
