"""Why a file could not be read, in words for people."""

from __future__ import annotations


def reason(error: Exception) -> str:
    """The first line of an error's text; of the system's errors without number and path.

    Args:
        error: any.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
