"""The loose dictionary `Scene.report` as typed rows.

Reports are also read from files, of other versions too: what is missing, or has another form, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mast3r_sfm.scene import Scene

Report = Mapping[str, Any]


@dataclass(frozen=True)
class PairRow:
    """Two photos that the network looked at together.

    Attributes:
        image0: name.
        image1: name.
        matches: found, 0 for none.
        inliers: of them that fit one epipolar geometry; None where that was not looked at.
        same_place: whether the pair was used; None as above.
    """

    image0: str
    image1: str
    matches: int
    inliers: int | None
    same_place: bool | None


@dataclass(frozen=True)
class StageRow:
    """A stage of the run; 0 bytes are unknown."""

    name: str
    seconds: float
    peak_bytes: int
    gpu_peak_bytes: int


@dataclass(frozen=True)
class LossCurve:
    """How a solver went in one group of photos.

    Attributes:
        component: number of the group.
        solver: its name.
        name: of the solver's stage.
        steps: numbers of the steps with a finite loss.
        losses: one each.
        seconds: wall clock; None if unknown.
    """

    component: int
    solver: str
    name: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    seconds: float | None


def pairs_of(report: Report) -> list[PairRow]:
    """All pairs that were tried."""
    return [
        PairRow(
            str(row["image0"]),
            str(row["image1"]),
            int(number(row.get("matches")) or 0),
            None if (inliers := number(row.get("inliers"))) is None else int(inliers),
            row.get("same_place") if isinstance(row.get("same_place"), bool) else None,
        )
        for row in mappings(report.get("pairs"))
        if "image0" in row and "image1" in row
    ]


def stages_of(report: Report) -> list[StageRow]:
    """The stages whose time is known."""
    return [
        StageRow(
            str(row.get("name", "?")),
            seconds,
            int(number(row.get("peak_bytes")) or 0),
            int(number(row.get("gpu_peak_bytes")) or 0),
        )
        for row in mappings(report.get("stages"))
        if (seconds := number(row.get("seconds"))) is not None
    ]


def curves_of(report: Report) -> list[LossCurve]:
    """The loss curves, group by group."""
    curves = []
    for component, alignment in enumerate(mappings(report.get("alignment"))):
        for stage in mappings(alignment.get("stages")):
            losses = stage.get("losses")
            finite = [
                (step, loss)
                for step, value in enumerate(losses if isinstance(losses, list | tuple) else ())
                if (loss := number(value)) is not None
            ]
            if finite:
                steps, values = zip(*finite, strict=True)
                name, solver = str(stage.get("name", "")), str(alignment.get("solver", ""))
                curves.append(LossCurve(component, solver, name, steps, values, number(stage.get("seconds"))))
    return curves


def dropped_of(scene: Scene) -> dict[str, str]:
    """Why photos are not in the scene, by name."""
    return {drop.name: drop.reason for drop in scene.dropped}


def mappings(value: object) -> list[Report]:
    """The dictionaries of a list; nothing of anything else."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list | tuple) else []


def mapping(value: object) -> Report:
    """A dictionary, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
