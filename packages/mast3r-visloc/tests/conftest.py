"""Fixtures of mast3r-visloc's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .visloc_cli import colour_network, visloc, wall

__all__ = ["colour_network", "goldens", "visloc", "wall"]

GOLDENS = Path(__file__).resolve().parent / "goldens" / "visloc"


@pytest.fixture(scope="session")
def goldens() -> Path:
    """What the reference implementation returned for small data: see its README."""
    return GOLDENS
