"""The compiled CUDA back end: where its library lies, and how it is loaded. ``curope.build`` makes it."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

PACKAGE = Path(__file__).resolve().parent
SOURCES = PACKAGE / "csrc"
INSTALLED = PACKAGE / "lib"
"""Where a wheel that was made with CUROPE_BUILD_CUDA=1 holds the library."""

VARIABLE = "CUROPE_LIBRARY"


def library_name() -> str:
    """The file name: it names all that the library depends on, so that a stale one is never loaded."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return f"curope-{digest.hexdigest()[:12]}-torch{torch.__version__}-{platform.machine()}.so"


def cache_folder() -> Path:
    """The folder into which ``python -m curope.build`` builds: in $XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curope"


def find_library() -> Path:
    """The library to load: $CUROPE_LIBRARY, else the wheel's, else the per-user folder's.

    Raises:
        FileNotFoundError: there is none for these sources and this PyTorch.
    """
    if explicit := os.environ.get(VARIABLE):
        if not Path(explicit).is_file():
            raise FileNotFoundError(f"{VARIABLE}={explicit}: no such file")
        return Path(explicit)
    for folder in (INSTALLED, cache_folder()):
        if (library := folder / library_name()).is_file():
            return library
    raise FileNotFoundError(
        f"not built for this version and PyTorch {torch.__version__}; build it with: python -m curope.build"
    )


@lru_cache(maxsize=1)
def load() -> Path:
    """Load the library, which registers ``curope_cuda::rotate_into`` with PyTorch.

    Returns:
        The file that was loaded.

    Raises:
        OSError: there is none, or it cannot be loaded.
    """
    library = find_library()
    torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    return library


def rotate_into(output: Tensor, tokens: Tensor, positions: Tensor, frequencies: Tensor) -> None:
    """The CUDA kernel of ``csrc``, with the contract of ``reference.rotate_into``; load the library first."""
    torch.ops.curope_cuda.rotate_into(output, tokens, positions, frequencies)
