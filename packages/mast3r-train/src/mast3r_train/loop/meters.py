"""Averages and medians of what the loop measures (spec 40 sections 9.5, 9.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mast3r_train.loop.ranks import Ranks


@dataclass
class Meter:
    """Values of one quantity over the batches of an epoch.

    Attributes:
        total: sum of the values.
        count: number of values.
        values: all of them, if the meter keeps them (for medians).
    """

    total: float = 0.0
    count: int = 0
    values: list[float] = field(default_factory=list)

    @property
    def average(self) -> float:
        return self.total / self.count if self.count else float("nan")


class Meters:
    """Named meters that appear as they are first updated.

    Args:
        keep_values: remember every value, so that medians can be asked for.
    """

    def __init__(self, *, keep_values: bool = False) -> None:
        self.keep_values = keep_values
        self.by_name: dict[str, Meter] = {}

    def update(self, values: Mapping[str, float]) -> None:
        """Add one value to each named meter."""
        for name, value in values.items():
            meter = self.by_name.setdefault(name, Meter())
            meter.total += value
            meter.count += 1
            if self.keep_values:
                meter.values.append(value)

    def add(self, other: Meters) -> None:
        """Count what another one has measured too."""
        for name, theirs in other.by_name.items():
            meter = self.by_name.setdefault(name, Meter())
            meter.total += theirs.total
            meter.count += theirs.count
            meter.values.extend(theirs.values)

    def averages(self, ranks: Ranks) -> dict[str, float]:
        """Count-weighted averages over all ranks."""
        sums = ranks.sum({name: (meter.total, float(meter.count)) for name, meter in self.by_name.items()})
        return {name: total / count if count else float("nan") for name, (total, count) in sums.items()}

    def lower_medians(self, ranks: Ranks) -> dict[str, float]:
        """Lower medians over the batches of all ranks; NaN if any value is NaN."""
        gathered = ranks.gather({name: meter.values for name, meter in self.by_name.items()})
        return {name: lower_median(values) for name, values in gathered.items()}

    def state(self) -> dict[str, tuple[float, int]]:
        """What a checkpoint in the middle of an epoch needs to go on."""
        return {name: (meter.total, meter.count) for name, meter in self.by_name.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, tuple[float, int]]) -> Meters:
        """The inverse of :meth:`state`."""
        meters = cls()
        for name, (total, count) in state.items():
            meters.by_name[name] = Meter(total=total, count=count)
        return meters


def lower_median(values: list[float]) -> float:
    """The middle value, the lower one of two; NaN for none or if one is NaN."""
    if not values or np.isnan(values).any():
        return float("nan")
    return sorted(values)[(len(values) - 1) // 2]
