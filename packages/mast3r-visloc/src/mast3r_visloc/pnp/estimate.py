"""A camera's pose from 2D-3D correspondences, the whole way (spec 50 D5, D6)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from jaxtyping import Float

from mast3r_model import ConfigError, InputError, PluginError, nearest_names, registry
from mast3r_visloc.cameras import Camera, FocalMode

from .chance import POSE_AND_FOCAL_POINTS, POSE_POINTS, log10_chance_poses
from .contract import PnPResult, PnPSolver
from .covariance import pose_covariance
from .focal import solve_unknown_focal, suspicious_change
from .outcome import unsolved
from .refinement import RefinedPose, refine_pose
from .residuals import find_inliers
from .selection import degeneracy, select_points
from .threshold import DEFAULT_THRESHOLD, threshold_pixels


@dataclass(frozen=True, eq=False)
class _Problem:
    """Correspondences that can be used, and the settings that every step needs."""

    points2d: Float[np.ndarray, "n 2"]
    points3d: Float[np.ndarray, "n 3"]
    weights: Float[np.ndarray, " n"] | None
    threshold_px: float
    min_inliers: int
    max_chance: float
    seed: int


def estimate_pose(
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    camera: Camera,
    *,
    solver: str | PnPSolver = "poselib",
    threshold: str | float = DEFAULT_THRESHOLD,
    min_inliers: int = 12,
    max_chance: float = math.inf,
    max_points: int = 100_000,
    weights: Float[np.ndarray, " n"] | None = None,
    seed: int = 0,
    refine: bool = True,
    covariance: bool = False,
    focal: FocalMode = "known",
    initial_focal: float | None = None,
) -> PnPResult:
    """Where a photo was taken, from pixels whose 3D points are known.

    RANSAC by the solver, then a fit to the inliers in the camera's full distortion model. Inliers are points
    in front of the camera with a reprojection error up to the threshold, whatever the solver says.

    Args:
        points2d: (n, 2) pixels (x, y) of the photo, an integer being a pixel's centre. Rows that are not
            finite, here or in the next, are left out.
        points3d: (n, 3) in the world's frame.
        camera: of the photo, in its pixels.
        solver: a name among ``mast3r_pnp_solvers``, or such a function.
        threshold: ``"0.8%"`` of the photo's diagonal, ``"12px"``, or a number of pixels.
        min_inliers: fewer are a failure: some poses are found in pure noise.
        max_chance: a failure, too, is a pose of which pure chance is expected to offer more than so many; see
            `pnp.chance`. 0.01 is prudent; infinite asks for nothing.
        max_points: of more, RANSAC sees the best by weight, or random ones without weights. The fit and the
            inliers are those of all.
        weights: (n,) how much each correspondence is trusted.
        seed: of everything random; the same input gives the same result.
        refine: fit to the inliers after RANSAC.
        covariance: also tell how sure the pose is.
        focal: ``known``; ``refine`` for one that is known roughly, as EXIF does, estimated anew if no pose
            agrees with it; ``estimate`` for an unknown one, which COLMAP does whatever the solver.
        initial_focal: where ``estimate`` starts, in pixels; else the camera's.

    Returns:
        The pose. Without success, ``info["reason"]`` says why in a sentence and ``info["failed"]`` in a word,
        ``few_matches``, ``few_inliers`` or ``chance``. ``info["warnings"]`` holds what looks suspicious. A
        failure keeps the inliers that it had.

    Raises:
        InputError: arrays of other shapes, an unknown solver, or a threshold that cannot be read.
        ConfigError: another setting that is out of range.
        PluginError: a plugin's solver breaks its contract.
    """
    _check_settings(focal, min_inliers, max_points, max_chance)
    points2d, points3d, weights = _checked_points(points2d, points3d, weights)
    limit = threshold_pixels(threshold, camera)
    solve = find_solver(solver) if isinstance(solver, str) else solver
    rows = select_points(points2d, points3d, weights, max_points, seed)
    info: dict[str, object] = {"threshold_px": limit, "points": len(rows), "focal": focal, "warnings": []}
    reason = degeneracy(points2d[rows], points3d[rows])
    if reason is not None:
        # Of many matches it is no matter of course that they fix no pose.
        told = [reason] if len(rows) >= min_inliers else []
        return unsolved(len(points2d), camera, reason, {**info, "failed": "few_matches", "warnings": told})
    sample = _Problem(
        points2d[rows],
        points3d[rows],
        None if weights is None else weights[rows],
        limit,
        min_inliers,
        max_chance,
        seed,
    )
    found, warnings = _ransac(sample, camera, solve, focal, initial_focal)
    info |= {**found.info, "warnings": warnings}
    if found.cam_from_world is None:
        reason = str(found.info.get("reason", "the solver found no pose"))
        return unsolved(len(points2d), camera, reason, {**info, "failed": "few_inliers"})
    everything = dataclasses.replace(sample, points2d=points2d, points3d=points3d, weights=None)
    pose = RefinedPose(found.cam_from_world, found.camera)
    if refine:
        pose = _refined(everything, pose, focal != "known")
    if focal == "refine":
        changed = suspicious_change(camera, pose.camera)
        warnings += [changed] if changed else []
    return _decided(everything, pose, info, covariance, focal)


def find_solver(name: str) -> PnPSolver:
    """A solver among ``mast3r_pnp_solvers``.

    Raises:
        InputError: nothing has this name.
        PluginError: its module cannot be imported.
    """
    known = registry("pnp_solvers")
    if name not in known:
        nearest = nearest_names(name, known.names())
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"known: {', '.join(known.names())}"
        raise InputError(f"no PnP solver is called {name!r}", hint)
    return cast(PnPSolver, known[name])


def _ransac(
    problem: _Problem, camera: Camera, solve: PnPSolver, focal: FocalMode, initial_focal: float | None
) -> tuple[PnPResult, list[str]]:
    """The pose that most points agree with, and warnings for people."""
    points = (problem.points2d, problem.points3d)
    if focal == "estimate":
        return solve_unknown_focal(*points, camera, problem.threshold_px, problem.seed, initial_focal), []
    found = solve(*points, camera, problem.threshold_px, problem.seed, problem.weights)
    _check_contract(found, solve)
    supported = _supported(problem, found)
    if focal == "known" or supported >= problem.min_inliers:
        return found, []
    anew = solve_unknown_focal(*points, camera, problem.threshold_px, problem.seed, initial_focal)
    if anew.num_inliers < max(problem.min_inliers, supported + 1):
        return found, []
    noted = float(np.mean(camera.focal_lengths))
    return anew, [f"only {supported} points fit the noted focal length of {noted:.0f} pixels: looked for one"]


def _supported(problem: _Problem, found: PnPResult) -> int:
    if found.cam_from_world is None:
        return 0
    return int(
        find_inliers(
            found.cam_from_world, problem.points2d, problem.points3d, found.camera, problem.threshold_px
        ).sum()
    )


def _refined(problem: _Problem, pose: RefinedPose, refine_focal: bool) -> RefinedPose:
    finite = np.isfinite(problem.points2d).all(1) & np.isfinite(problem.points3d).all(1)
    return refine_pose(
        pose,
        problem.points2d[finite],
        problem.points3d[finite],
        problem.threshold_px,
        refine_focal=refine_focal,
    )


def _decided(
    problem: _Problem, pose: RefinedPose, info: Mapping[str, object], covariance: bool, focal: FocalMode
) -> PnPResult:
    """Whether enough points agree with the pose, and do fix it."""
    points = (problem.points2d, problem.points3d)
    inliers = find_inliers(pose.cam_from_world, *points, pose.camera, problem.threshold_px)
    count = int(inliers.sum())
    sample = POSE_AND_FOCAL_POINTS if focal == "estimate" else POSE_POINTS
    chance = log10_chance_poses(problem.points2d, inliers, problem.threshold_px, sample=sample)
    reason, failed = None, "few_inliers"
    if count < problem.min_inliers:
        reason = f"only {count} points agree with a pose, at least {problem.min_inliers} are needed"
    elif flat := degeneracy(points[0][inliers], points[1][inliers]):
        reason = f"of the points that agree with the pose, {flat}"
    elif problem.max_chance < math.inf and chance > math.log10(problem.max_chance):
        reason, failed = f"{count} points agree with a pose, which may be chance", "chance"
    info = {**info, "log10_chance_poses": chance if math.isfinite(chance) else None}
    if reason is not None:
        info = {**info, "reason": reason, "failed": failed}
        return PnPResult(False, None, inliers, count, pose.camera, info=info)
    spread = (
        pose_covariance(pose.cam_from_world, *points, inliers, pose.camera, problem.threshold_px)
        if covariance
        else None
    )
    return PnPResult(True, pose.cam_from_world, inliers, count, pose.camera, spread, info)


def _check_settings(focal: str, min_inliers: int, max_points: int, max_chance: float) -> None:
    if focal not in get_args(FocalMode):
        raise ConfigError(f"focal must be one of {', '.join(get_args(FocalMode))}, got {focal!r}")
    if min_inliers < 4:
        raise ConfigError(f"min_inliers must be at least 4, got {min_inliers}: three points fit any pose")
    if not max_chance > 0:
        raise ConfigError(
            f"max_chance must be above 0, got {max_chance}", "0.01 is prudent, inf asks for nothing"
        )
    if max_points < 4:
        raise ConfigError(f"max_points must be at least 4, got {max_points}")


def _checked_points(
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    weights: Float[np.ndarray, " n"] | None,
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 3"], Float[np.ndarray, " n"] | None]:
    """As float64."""
    pixels, points = (np.ascontiguousarray(array, dtype=np.float64) for array in (points2d, points3d))
    if pixels.ndim != 2 or pixels.shape[1] != 2 or points.shape != (len(pixels), 3):
        raise InputError(f"PnP takes pixels (n, 2) and points (n, 3), got {pixels.shape} and {points.shape}")
    if weights is None:
        return pixels, points, None
    trusted = np.asarray(weights, dtype=np.float64)
    if trusted.shape != (len(pixels),):
        raise InputError(f"PnP takes one weight for each of {len(pixels)} points, got {trusted.shape}")
    return pixels, points, trusted


def _check_contract(found: PnPResult, solve: Callable[..., PnPResult]) -> None:
    """Raise PluginError where a solver's result is none."""
    name = getattr(solve, "__name__", repr(solve))
    if not isinstance(found, PnPResult):
        raise PluginError(f"PnP solver {name} must return a PnPResult, got {type(found).__name__}")
    pose = found.cam_from_world
    if found.success != (pose is not None) or (
        pose is not None and (np.shape(pose) != (4, 4) or not np.isfinite(pose).all())
    ):
        raise PluginError(
            f"PnP solver {name} must give a finite 4x4 cam_from_world if and only if it succeeds, "
            f"got success {found.success} and {pose!r}"
        )
