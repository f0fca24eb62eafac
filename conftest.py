"""Fixtures shared by the tests of all packages."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # two processes on two cores: more threads get in the way
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("MAST3R_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture
def goldens(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Find a golden file: the copy beside the test first, then the shared folder, else skip.

    Returns:
        A function from a path relative to the goldens' folder, such as ``model/rope2d.npz``, to the file.
    """
    own_copies = next(
        (parent / "goldens" for parent in request.path.parents if parent.name == "tests"), request.path.parent
    )

    def find(relative: str) -> Path:
        for folder in (own_copies, SHARED / "goldens"):
            if (folder / relative).exists():
                return folder / relative
        pytest.skip(f"golden {relative} is neither copied into the tests nor in {SHARED.name}/goldens")

    return find


@pytest.fixture
def photos() -> Path:
    """The folder of real photos; skips where it is absent (they are never committed)."""
    folder = SHARED / "images"
    if not folder.is_dir():
        pytest.skip("the folder of real photos (shared/images) is absent")
    return folder
