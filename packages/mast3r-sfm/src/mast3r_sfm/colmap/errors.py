"""COLMAP's messages and errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pycolmap

from mast3r_model import Mast3rError


@contextmanager
def colmap_errors(stage: str) -> Iterator[None]:
    """COLMAP's errors as ours, and its messages only from errors on.

    Its warnings are no news to users here: GLOMAP, say, looks for photos to take colours from.

    Args:
        stage: what is under way, for messages.

    Raises:
        Mast3rError: COLMAP failed.
    """
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Mast3rError(f"{stage} failed in COLMAP: {text}") from error
    finally:
        pycolmap.logging.minloglevel = before
