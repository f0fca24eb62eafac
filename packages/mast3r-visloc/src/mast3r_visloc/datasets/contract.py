"""What a localisation dataset is: a map, queries, and which map images to try for each (spec 50 A2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from mast3r_visloc.cameras import Camera
from mast3r_visloc.maps import LocalizationMap

Thresholds = Sequence[tuple[float, float]]
"""(metres, degrees) pairs."""


@dataclass(frozen=True, eq=False)
class Query:
    """A photo to localise.

    Attributes:
        name: unique in the dataset; a label, never used as a path.
        path: the file.
        camera: in the photo's pixels; None if unknown.
        cam2world: 4x4 float64, the true pose; None if unknown.
        camera_source: where the camera comes from, for people; None: it was listed for this photo.
    """

    name: str
    path: Path
    camera: Camera | None = None
    cam2world: Float[np.ndarray, "4 4"] | None = None
    camera_source: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A map image to try for a query.

    Attributes:
        name: of the map image.
        score: how alike they are, larger is more alike.
    """

    name: str
    score: float


@runtime_checkable
class LocalizationDataset(Protocol):
    """What plugins register in ``mast3r_localization_datasets``; expressions construct it by name.

    Attributes:
        name: for reports.
        thresholds: (metres, degrees) of the benchmark's table.
    """

    name: str
    thresholds: Thresholds

    @property
    def map(self) -> LocalizationMap:
        """The map, read on first use."""
        ...

    @property
    def queries(self) -> Sequence[Query]:
        """The photos to localise."""
        ...

    def candidates(self, query: int) -> Sequence[Candidate]:
        """Map images to try for query number `query`, best first, as many as the dataset is told to give.

        Raises:
            InputError: the query has no pairs.
        """
        ...
