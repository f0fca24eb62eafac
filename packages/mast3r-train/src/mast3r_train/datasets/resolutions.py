"""The resolutions of a dataset, as expressions write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mast3r_model import ConfigError

Resolution = int | tuple[int, int] | Sequence[tuple[int, int]]
"""A side, (width, height) with width >= height, or a list of those."""


def resolutions_of(resolution: Resolution) -> list[tuple[int, int]]:
    """The list of (width, height).

    Raises:
        ConfigError: it is none of the three forms.
    """
    listed: Sequence[Any] = [resolution]
    if isinstance(resolution, (list, tuple)) and not _is_pair(resolution):
        listed = resolution
    sizes = [(size, size) if isinstance(size, int) else size for size in listed]
    if not sizes or not all(_is_pair(size) and size[0] >= size[1] > 0 for size in sizes):
        turned = [tuple(reversed(size)) for size in sizes if _is_pair(size) and 0 < size[0] < size[1]]
        raise ConfigError(
            f"resolution is (width, height) with width >= height, or a list of those, got {resolution!r}",
            hint=f"{turned[0]} makes portrait samples of portrait photos by itself" if turned else None,
        )
    return [(width, height) for width, height in sizes]


def _is_pair(value: object) -> bool:
    """Whether this is a pair of whole numbers."""
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(type(n) is int for n in value)
