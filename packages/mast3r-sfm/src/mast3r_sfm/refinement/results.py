"""How a scene is refined, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mast3r_sfm.scene import Scene


@dataclass(frozen=True, kw_only=True)
class RefinementOptions:
    """How a scene is refined.

    Attributes:
        always: adjust even if held-out tracks do not get better; they are measured all the same.
        least_gain: by this share the held-out tracks' error must fall. Smaller gains are of matches rounded
            to pixels: on synthetic scenes cameras got worse where it fell by less than half a percent.
        free_focals: let focal lengths move too. Held-out tracks do not protect them: on a walk of sixty
            views, along a wall, they ran off by 90 percent while those tracks fitted better.
        held_out: share of the tracks that judge.
        min_held_out: of them at least so many; groups with less than five times as many tracks stay.
        min_observations: images with fewer stay where they are.
        max_error: observations that end farther away are dropped, in network pixels.
        min_angle: tracks that end with less parallax are dropped, in degrees.
        loss_scale: of the robust loss, in network pixels.
        iterations: of each adjustment at most.
        rounds: at most, where tracks can be found anew.
        seed: of the choice of held-out tracks.
        threads: of COLMAP, -1 for all; one is needed for the same result to the bit.
    """

    always: bool = False
    least_gain: float = 0.02
    free_focals: bool = False
    held_out: float = 0.1
    min_held_out: int = 10
    min_observations: int = 12
    max_error: float = 3.0
    min_angle: float = 0.5
    loss_scale: float = 1.0
    iterations: int = 100
    rounds: int = 4
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class GroupRefinement:
    """What became of one group of connected images.

    Attributes:
        component: its number.
        accepted: whether its cameras were changed.
        reason: why not, for people; empty if they were.
        before: mean reprojection error of held-out tracks with the old cameras, in network pixels, each error
            clipped at twice `RefinementOptions.max_error`; None if it was not measured.
        after: the same with cameras adjusted on the other tracks.
        held_out: number of tracks that judged.
    """

    component: int
    accepted: bool
    reason: str = ""
    before: float | None = None
    after: float | None = None
    held_out: int = 0


@dataclass(frozen=True, eq=False)
class Refinement:
    """A scene after refinement.

    Attributes:
        scene: with new cameras, depth, points and tracks where that was accepted.
        groups: what became of every group of images, in the first round if there are several.
        rounds: how many changed something.
    """

    scene: Scene
    groups: tuple[GroupRefinement, ...]
    rounds: int

    @property
    def accepted(self) -> bool:
        """Whether anything changed."""
        return any(group.accepted for group in self.groups)

    def as_report(self) -> dict[str, Any]:
        """What became of it, ready for JSON."""
        return {
            "accepted": self.accepted,
            "rounds": self.rounds,
            "held_out_error_before": self.before,
            "held_out_error_after": self.after,
            "reason": "; ".join(sorted({group.reason for group in self.groups if group.reason})),
            "groups": [asdict(group) for group in self.groups],
        }

    @property
    def before(self) -> float | None:
        """`GroupRefinement.before` over all held-out tracks; None if none was measured."""
        return _mean([(group.before, group.held_out) for group in self.groups])

    @property
    def after(self) -> float | None:
        """`GroupRefinement.after`, likewise; of rejected adjustments too."""
        return _mean([(group.after, group.held_out) for group in self.groups])


def _mean(weighted: list[tuple[float | None, int]]) -> float | None:
    total = sum(weight for value, weight in weighted if value is not None)
    return sum(value * weight for value, weight in weighted if value is not None) / total if total else None
