"""Thresholds of recall: (position, rotation) pairs, for people and from the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mast3r_model import ConfigError

if TYPE_CHECKING:
    from mast3r_visloc.datasets import Thresholds

DEFAULT_THRESHOLDS: Thresholds = ((0.1, 1), (0.25, 2), (0.5, 5), (5, 10))
"""Metres and degrees of upstream's summary (spec 50 A8)."""

HLOC_THRESHOLDS: Thresholds = ((0.01, 1), (0.02, 2), (0.03, 3), (0.05, 5), (0.25, 2), (0.5, 5), (5, 10))
"""Metres and degrees that hloc prints (spec 50 C1)."""


def parse_thresholds(text: str) -> tuple[tuple[float, float], ...]:
    """Thresholds as the command line gives them, ``"0.25,2 0.5,5 5,10"``, or ``hloc`` for hloc's.

    Raises:
        ConfigError: another form, or a number that is not positive.
    """
    if text.strip() == "hloc":
        return checked_thresholds(HLOC_THRESHOLDS)
    hint = 'give metres and degrees, such as "0.25,2 0.5,5 5,10", or hloc'
    pairs = []
    for word in text.split():
        fields = word.split(",")
        try:
            values = tuple(float(field.replace("_", "")) for field in fields)
        except ValueError:
            raise ConfigError(f"expected a threshold 'metres,degrees', got {word!r}", hint) from None
        if len(values) != 2:
            raise ConfigError(f"expected a threshold 'metres,degrees', got {word!r}", hint)
        pairs.append((values[0], values[1]))
    return checked_thresholds(pairs)


def checked_thresholds(thresholds: Thresholds) -> tuple[tuple[float, float], ...]:
    """The same as a tuple.

    Raises:
        ConfigError: none at all, or a number that is not positive.
    """
    pairs = tuple((float(position), float(rotation)) for position, rotation in thresholds)
    if not pairs or not all(value > 0 and not math.isnan(value) for pair in pairs for value in pair):
        raise ConfigError(
            f"thresholds must be positive pairs of metres and degrees, got {list(pairs)}",
            'such as "0.25,2 0.5,5 5,10"',
        )
    return pairs


def threshold_label(threshold: Sequence[float]) -> str:
    """``0.25m,2deg``."""
    position, rotation = threshold
    return f"{position:.12g}m,{rotation:.12g}deg"
