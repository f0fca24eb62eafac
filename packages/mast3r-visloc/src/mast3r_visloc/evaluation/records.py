"""What a run remembers of a query: small, so that a run of any length needs no more memory (spec 50 D7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.poses import Failure, Method, Pose

from .errors import PoseError

Matrix = tuple[tuple[float, ...], ...]
Status = Literal["localised", "failed"]


@dataclass(frozen=True)
class QueryRecord:
    """One query of a run; the fields of a query in ``report.json`` are these.

    Attributes:
        index: running number in the run, that of its files ``matches/NNNN.npz`` and ``pictures/NNNN.jpg``.
        position: number of the query in its dataset or list; the same as `index` unless the run is a shard.
        name: of the query.
        cam2world: 4x4; None if it was not localised.
        camera: of the query, as the pose was found with it.
        camera_source: where the camera comes from.
        num_inliers: correspondences that agree with the pose.
        num_matches: all correspondences.
        candidates: map images that were tried.
        best_image: of them the one with most inliers, or most matches; None without any match.
        method: how the pose was found.
        reason: why there is none.
        covariance: 6x6, if it was asked for.
        warnings: what looks suspicious.
        timings: seconds by stage.
        error: distance from the truth; infinite for a failure, None without a truth.
        nearest: 4x4 cam2world of the first candidate; None if unknown.
        num_points: different 3D points of the inliers: one that several map images show counts once here, and
            once for each of them in `num_inliers` (spec 50, trap 7); None in reports that did not count them.
    """

    index: int
    position: int
    name: str
    cam2world: Matrix | None
    camera: Camera
    camera_source: str
    num_inliers: int
    num_matches: int
    candidates: tuple[str, ...]
    best_image: str | None
    method: Method | None = None
    reason: Failure | None = None
    covariance: Matrix | None = None
    warnings: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    error: PoseError | None = None
    nearest: Matrix | None = None
    num_points: int | None = None

    @property
    def success(self) -> bool:
        """Whether there is a pose."""
        return self.cam2world is not None

    @property
    def status(self) -> Status:
        """``localised`` or ``failed``."""
        return "localised" if self.success else "failed"

    @property
    def seconds(self) -> float:
        """Of all stages together."""
        return float(sum(self.timings.values()))

    @classmethod
    def from_pose(
        cls,
        name: str,
        pose: Pose,
        *,
        index: int,
        position: int,
        error: PoseError | None,
        nearest: Float[np.ndarray, "4 4"] | None,
    ) -> QueryRecord:
        """What is kept of a query's pose: all but its correspondences."""
        return cls(
            index,
            position,
            name,
            _rows(pose.cam2world) if pose.success else None,
            pose.camera,
            pose.camera_source,
            int(pose.num_inliers),
            len(pose.correspondences),
            tuple(pose.candidates),
            None if (best := best_candidate(pose)) is None else pose.candidates[best],
            pose.method,
            pose.reason,
            _rows(pose.covariance),
            tuple(pose.warnings),
            {name: float(seconds) for name, seconds in pose.timings.items()},
            error,
            _rows(nearest),
            len(np.unique(pose.correspondences.xyz[pose.correspondences.inlier], axis=0)),
        )

    def to_json(self) -> dict[str, Any]:
        """As ``report.json`` holds it: strict JSON, infinite errors are null."""
        return {
            "index": self.index,
            "position": self.position,
            "name": self.name,
            "status": self.status,
            "reason": self.reason,
            "method": self.method,
            "cam2world": self.cam2world,
            "camera": {
                "model": self.camera.model,
                "width": self.camera.width,
                "height": self.camera.height,
                "params": self.camera.params,
                "source": self.camera_source,
            },
            "num_inliers": self.num_inliers,
            "num_points": self.num_points,
            "num_matches": self.num_matches,
            "candidates": self.candidates,
            "best_image": self.best_image,
            "covariance": self.covariance,
            "warnings": self.warnings,
            "timings": dict(self.timings),
            "error": None
            if self.error is None
            else {"position_m": _finite(self.error.position), "rotation_deg": _finite(self.error.rotation)},
            "nearest_cam2world": self.nearest,
        }

    @classmethod
    def from_json(cls, value: object) -> QueryRecord:
        """Read what `to_json` gave.

        Raises:
            InputError: it is something else.
        """
        try:
            row = cast(Mapping[str, Any], value)
            camera = row["camera"]
            return cls(
                int(row["index"]),
                int(row["position"]),
                str(row["name"]),
                _rows(row["cam2world"]),
                Camera(
                    str(camera["model"]), int(camera["width"]), int(camera["height"]), tuple(camera["params"])
                ),
                str(camera["source"]),
                int(row["num_inliers"]),
                int(row["num_matches"]),
                tuple(map(str, row["candidates"])),
                row["best_image"],
                row["method"],
                row["reason"],
                _rows(row["covariance"], 6),
                tuple(map(str, row["warnings"])),
                {str(name): float(seconds) for name, seconds in row["timings"].items()},
                _error(row["error"]),
                _rows(row["nearest_cam2world"]),
                None if (points := row.get("num_points")) is None else int(points),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"a query of the report cannot be read: {error!r}") from error


def best_candidate(pose: Pose) -> int | None:
    """Number of the candidate with most inliers, or, without any, most matches; None without matches."""
    found = pose.correspondences
    if not len(found) or not pose.candidates:
        return None
    rows = found.inlier if found.inlier.any() else np.ones(len(found), dtype=bool)
    return int(np.bincount(found.map_image[rows], minlength=len(pose.candidates)).argmax())


def _rows(matrix: Any, size: int = 4) -> Matrix | None:
    if matrix is None:
        return None
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"expected a {size}x{size} matrix, got an array of shape {array.shape}")
    return tuple(tuple(row) for row in array.tolist())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _error(value: Mapping[str, float | None] | None) -> PoseError | None:
    if value is None:
        return None
    position, rotation = value["position_m"], value["rotation_deg"]
    return PoseError(
        math.inf if position is None else float(position), math.inf if rotation is None else float(rotation)
    )
