"""Libraries that only preparations need, imported when they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from mast3r_model import InputError


def import_extra(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a library of one of this package's extras.

    Args:
        module: to import.
        extra: of ``mast3r-train`` that installs it.
        purpose: what needs it.

    Raises:
        InputError: it is not installed; the hint says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{purpose} needs {module}, which cannot be imported: {error}",
            hint=f"pip install 'mast3r-train[{extra}]'",
        ) from error
