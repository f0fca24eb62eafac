"""What the controls of a scene graph may be set to, for so many photos (spec 60 A2's dynamic rule, A6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .controls import CONTROLS

FEWEST = 3
"""With fewer photos every graph is the same pair: there is nothing to choose."""
NEEDS_MORE = "needs 3 photos or more"
DEFAULT_WINDOW, DEFAULT_KEY_IMAGES, DEFAULT_NEIGHBOURS = 3, 20, 10


@dataclass(frozen=True)
class Bounds:
    """A slider's state; its minimum is always below its maximum, which gradio demands.

    Attributes:
        minimum: smallest value.
        maximum: largest value.
        value: where it stands.
        enabled: whether there is something to choose.
    """

    minimum: int
    maximum: int
    value: int
    enabled: bool = True


@dataclass(frozen=True)
class GraphControls:
    """The controls below "Pairs"; None: not shown.

    Attributes:
        window: "Window size".
        cyclic: whether "Cyclic sequence" is shown.
        reference: "Reference photo".
        key_images: "Key images".
        neighbours: "Neighbours".
        hint: why there is nothing to choose, or "".
    """

    window: Bounds | None = None
    cyclic: bool = False
    reference: Bounds | None = None
    key_images: Bounds | None = None
    neighbours: Bounds | None = None
    hint: str = ""


def graph_controls(graph: str, count: int, *, cyclic: bool = False, mapper: str = "sparse") -> GraphControls:
    """What is shown for a graph, with valid bounds for any number of photos.

    Args:
        graph: a value of "Pairs".
        count: number of photos.
        cyclic: whether the sequence is closed.
        mapper: a value of "Mapper"; controls that it does not know are not shown.
    """
    names = ("window", "cyclic", "reference", "key_images", "neighbours")
    shown = {name: CONTROLS[name].shown(mapper, graph) for name in names}
    few = count < FEWEST
    return GraphControls(
        window=_window(graph, count, cyclic) if shown["window"] else None,
        cyclic=shown["cyclic"],
        reference=_bounds(0, count - 1, 0) if shown["reference"] else None,
        key_images=_bounds(0, count, min(DEFAULT_KEY_IMAGES, count), few) if shown["key_images"] else None,
        neighbours=(
            _bounds(1, count - 1, min(count - 1, DEFAULT_NEIGHBOURS), few) if shown["neighbours"] else None
        ),
        hint=NEEDS_MORE if few and any(shown.values()) else "",
    )


def largest_window(graph: str, count: int, *, cyclic: bool) -> int:
    """Upstream's upper bound of the window: beyond it nothing new is paired.

    Args:
        graph: "swin" or "logwin".
        count: number of photos, any.
        cyclic: whether the sequence is closed.
    """
    if count < FEWEST:
        return 1
    half = math.ceil((count - 1) / 2)
    if graph == "swin":
        return max(1, half) if cyclic else count - 1
    return max(1, math.ceil(math.log2(half if cyclic else count)))


def _window(graph: str, count: int, cyclic: bool) -> Bounds:
    largest = largest_window(graph, count, cyclic=cyclic)
    return _bounds(2 if largest > 2 else 1, largest, min(DEFAULT_WINDOW, largest))


def _bounds(minimum: int, maximum: int, value: int, disabled: bool = False) -> Bounds:
    """Bounds that gradio takes: where there is one value or none, the slider is kept valid and disabled."""
    enabled = maximum > minimum and not disabled
    maximum = max(maximum, minimum + 1)
    return Bounds(minimum, maximum, min(max(value, minimum), maximum), enabled)
