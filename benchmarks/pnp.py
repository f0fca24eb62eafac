"""The three PnP solvers side by side, at the sizes of spec 50 part B: time and error of the pose.

Points fill a 1600x1200 photo, 2 to 8 m away; 2 pixels of noise, threshold 16 pixels (0.8 % of the diagonal),
outliers anywhere. Seconds are the processor's, of one thread. `upstream` is `run_pnp`, the reference's way to
call OpenCV, its default; `estimate_pose` is what users call: PoseLib, then our fit to the inliers.

    OMP_NUM_THREADS=1 python benchmarks/pnp.py              # about five minutes
    OMP_NUM_THREADS=1 python benchmarks/pnp.py --quick      # without the 100 000 points
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import poselib
import pycolmap
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from mast3r_visloc.cameras import Camera, project, unproject
from mast3r_visloc.pnp import estimate_pose, run_pnp
from mast3r_visloc.pnp.opencv_solver import solve_opencv
from mast3r_visloc.pnp.poselib_solver import solve_poselib
from mast3r_visloc.pnp.pycolmap_solver import solve_pycolmap

ROWS = ((2_000, 0.5), (20_000, 0.7), (100_000, 0.7), (100_000, 0.9))
CAMERA = Camera("SIMPLE_PINHOLE", 1600, 1200, (1500.0, 800.0, 600.0))
NOISE, THRESHOLD = 2.0, 16.0

Pose = np.ndarray | None


@dataclass(frozen=True, eq=False)
class Problem:
    """Correspondences and the true camera to world."""

    points2d: np.ndarray
    points3d: np.ndarray
    cam2world: np.ndarray


def make_problem(number: int, outliers: float, seed: int = 0) -> Problem:
    """Points all over the photo, and wrong ones."""
    random = np.random.default_rng(seed)
    size = np.array([CAMERA.width, CAMERA.height])
    pixels = random.uniform(-0.5, size - 0.5, (number, 2))
    in_camera = unproject(CAMERA, pixels) * random.uniform(2, 8, (number, 1))
    cam2world = np.eye(4)
    cam2world[:3, :3] = Rotation.from_rotvec(random.normal(size=3)).as_matrix()
    cam2world[:3, 3] = random.normal(size=3) * 5
    points2d = project(CAMERA, in_camera) + random.normal(0, NOISE, (number, 2))
    outlier = random.uniform(size=number) < outliers
    points2d[outlier] = random.uniform(-0.5, size - 0.5, (int(outlier.sum()), 2))
    return Problem(points2d, in_camera @ cam2world[:3, :3].T + cam2world[:3, 3], cam2world)


def ways() -> dict[str, Callable[[Problem], Pose]]:
    """Everything that is compared, by the name of its column."""

    def upstream(problem: Problem) -> Pose:
        points2d, points3d = (points.astype(np.float32) for points in (problem.points2d, problem.points3d))
        size = (CAMERA.width, CAMERA.height)
        return run_pnp(points2d, points3d, CAMERA.intrinsics, None, "cv2", THRESHOLD, size)[1]

    def whole(problem: Problem) -> Pose:
        return estimate_pose(
            problem.points2d, problem.points3d, CAMERA, solver=solve_poselib, threshold=THRESHOLD
        ).cam2world

    solvers = {"cv2": solve_opencv, "poselib": solve_poselib, "pycolmap": solve_pycolmap}
    alone = {
        name: lambda problem, solve=solve: (
            solve(problem.points2d, problem.points3d, CAMERA, THRESHOLD, 0).cam2world
        )
        for name, solve in solvers.items()
    }
    return {"upstream, cv2": upstream, **alone, "estimate_pose": whole}


def measured(way: Callable[[Problem], Pose], problem: Problem) -> str:
    """Seconds and error of one way."""
    start = time.process_time()
    pose = way(problem)
    seconds = time.process_time() - start
    if pose is None:
        return f"{seconds:.2f} s, no pose"
    metres = np.linalg.norm(pose[:3, 3] - problem.cam2world[:3, 3])
    chord = np.linalg.norm(pose[:3, :3] - problem.cam2world[:3, :3]) / (2 * np.sqrt(2))
    degrees = np.degrees(2 * np.arcsin(min(chord, 1.0)))
    return f"{seconds:.2f} s  {1000 * metres:.2f} mm  {degrees:.4f}°"


def machine() -> str:
    """Commit, processor and versions, for the record."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"commit {commit or 'unknown'}, {platform.machine()}, OpenCV {cv2.__version__}, "
        f"PoseLib {poselib.__version__}, pycolmap {pycolmap.__version__}"
    )


def main() -> None:
    """Measure row by row and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="leave out the rows of 100 000 points")
    rows = [row for row in ROWS if row[0] < 100_000 or not parser.parse_args().quick]
    cv2.setNumThreads(1)
    console = Console(width=160)
    compared = ways()
    make_problem(100, 0.1)  # loads what is loaded on first use
    table = Table("points", "outliers", *compared, title=f"PnP, {machine()}")
    for number, outliers in rows:
        problem = make_problem(number, outliers)
        cells = [measured(way, problem) for way in compared.values()]
        table.add_row(f"{number}", f"{outliers:.0%}", *cells)
        console.log(f"{number} points, {outliers:.0%} outliers: done")
    console.print(table)


if __name__ == "__main__":
    main()
