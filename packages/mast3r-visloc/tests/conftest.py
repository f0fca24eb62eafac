"""Fixtures of mast3r-visloc's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

GOLDENS = Path(__file__).resolve().parent / "goldens" / "visloc"


@pytest.fixture(scope="session")
def goldens() -> Path:
    """What the reference implementation returned for small data: see its README."""
    return GOLDENS
