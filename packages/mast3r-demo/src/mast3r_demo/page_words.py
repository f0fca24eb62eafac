"""Errors in the words of the page: its controls, in the place of the command line's flags."""

from __future__ import annotations

from collections.abc import Mapping

from mast3r_model import Mast3rError

CONTROLS_OF_FLAGS: Mapping[str, str] = {
    "--graph complete": '"Pairs: All", or a larger "Image size"',
    "--mapper colmap or sparse": 'the mapper "colmap" or "sparse"',
    "--mapper sparse": 'the mapper "sparse"',
    "--size": '"Image size"',
    "--image-size": '"Image size"',
    "--shared-intrinsics": '"Same camera for all photos"',
}
"""What a visitor can do where a hint names a flag. A flag is replaced where it ends a word."""


def error_words(error: Mast3rError) -> str:
    """Message and hint, without flags: a hint that names one that the page does not have is left out."""
    hint = error.hint or ""
    for flag, control in CONTROLS_OF_FLAGS.items():
        hint = f"{hint} ".replace(f"{flag} ", f"{control} ").replace(f"{flag},", f"{control},").strip()
    return f"{error.message} ({hint})" if hint and "--" not in hint else error.message
