"""Which group of photos of the scene, if any, each new photo belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mast3r_sfm.pairs import Pair


@dataclass(frozen=True)
class Worlds:
    """Photos by the world that they are in.

    Attributes:
        joined: (component, numbers of photos that are connected): new photos, and the old ones that they
            match. Photos of one component that no chain of new photos connects are apart.
        apart: numbers of new photos that match each other but none of the scene.
        bridges: pairs that match, but connect two worlds, neither of which is to move.
    """

    joined: tuple[tuple[int, tuple[int, ...]], ...]
    apart: tuple[tuple[int, ...], ...]
    bridges: tuple[Pair, ...]


def find_worlds(strength: Mapping[Pair, float], components: Sequence[int], count: int) -> Worlds:
    """Join new photos to worlds by their strongest matches first, never two worlds to each other.

    Args:
        strength: of the pairs that match, each with a new photo.
        components: of the old photos, which have the numbers from 0.
        count: of all photos.
    """
    old = len(components)
    sets = _Sets(count)
    first_of: dict[int, int] = {}
    for number, component in enumerate(components):
        sets.join(first_of.setdefault(component, number), number)
    world = {sets.find(number): component for component, number in first_of.items()}
    bridges = []
    for pair in sorted(strength, key=lambda pair: (-strength[pair], sorted(pair))):
        one, other = (sets.find(number) for number in pair)
        if one == other:
            continue
        here, there = world.get(one), world.get(other)
        if here is not None and there is not None:
            bridges.append(pair)
            continue
        joined = sets.join(one, other)
        if here is not None or there is not None:
            world[joined] = here if here is not None else there  # type: ignore[assignment]
    kept = [pair for pair in strength if pair not in set(bridges)]
    parts = [part for part in _connected(kept, count) if part[-1] >= old]
    return Worlds(
        joined=tuple((components[part[0]], part) for part in parts if part[0] < old),
        apart=tuple(part for part in parts if part[0] >= old and len(part) > 1),
        bridges=tuple(bridges),
    )


def _connected(pairs: Sequence[Pair], count: int) -> list[tuple[int, ...]]:
    """Numbers that pairs connect, ascending, by their smallest."""
    sets = _Sets(count)
    for one, other in pairs:
        sets.join(one, other)
    parts: dict[int, list[int]] = {}
    for number in range(count):
        parts.setdefault(sets.find(number), []).append(number)
    return [tuple(part) for part in parts.values()]


class _Sets:
    """Disjoint sets of numbers."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, number: int) -> int:
        """The number that stands for the set."""
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def join(self, one: int, other: int) -> int:
        """Make one set of two; returns what stands for it."""
        self._parent[self.find(other)] = self.find(one)
        return self.find(one)
