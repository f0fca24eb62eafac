"""Alignment of up to a thousand images on synthetic walks with known cameras: time by stage, memory, errors.

    python benchmarks/alignment.py --images 10 30 100 300 500 1000 --json alignment.json
    python benchmarks/alignment.py --images 10 30 --solvers lm adam
    python benchmarks/alignment.py --images 10 30 100 --neighbors 0       # all pairs

Each row is a process of its own, so that its peak memory is its own. Seconds are by the clock; "CPU s" is the
processor time of all threads, which says more where other programs run beside. Errors are against the truth:
mean rotation after the best rotation, root mean square of centres after the best similarity (the walk's
cameras are 0.35 apart), mean focal error, mean error of single depths after each image's own scale.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from measure import machine_line, note, peak_memory_mib, reset_peak_memory, say

from mast3r_sfm.evaluation.alignment import mean_rotation, umeyama
from mast3r_sfm.sparse import AdamOptions, Alignment, LmOptions, align
from mast3r_sfm.sparse.synthetic_walk import Walk, WalkOptions, synthetic_walk

HEADER = (
    "| images | pairs | matches | solver | setup s | coarse s (steps) | fine s (steps) | total s | CPU s "
    "| problem MiB | peak MiB | KiB per pair | L3D | L2D | rot, deg | centres | focal, % | depth, % |"
)


@dataclass(frozen=True)
class Row:
    """One alignment; memory in MiB of the whole process."""

    images: int
    pairs: int
    matches: int
    seed: int
    solver: str
    setup_s: float
    coarse_s: float
    coarse_steps: int
    fine_s: float
    fine_steps: int
    total_s: float
    cpu_s: float
    problem_mib: float
    peak_mib: float
    coarse_loss: float
    fine_loss: float
    rotation_deg: float
    centres: float
    focal_percent: float
    depth_percent: float

    def __str__(self) -> str:
        """A line of the table."""
        kib_per_pair = 1024 * (self.peak_mib - self.problem_mib) / self.pairs
        return (
            f"| {self.images} | {self.pairs} | {self.matches} | {self.solver} | {self.setup_s:.1f} "
            f"| {self.coarse_s:.1f} ({self.coarse_steps}) | {self.fine_s:.1f} ({self.fine_steps}) "
            f"| {self.total_s:.1f} | {self.cpu_s:.1f} | {self.problem_mib:.0f} | {self.peak_mib:.0f} "
            f"| {kib_per_pair:.0f} | {self.coarse_loss:.4f} | {self.fine_loss:.4f} | {self.rotation_deg:.3f} "
            f"| {self.centres:.4f} | {self.focal_percent:.2f} | {self.depth_percent:.2f} |"
        )


def errors(walk: Walk, alignment: Alignment) -> tuple[float, float, float, float]:
    """Rotation in degrees, centres, focal and depth in percent."""
    poses, truth = alignment.cam2world.numpy(), walk.cam2world.numpy()
    turn = mean_rotation(poses[:, :3, :3], truth[:, :3, :3])
    cosine = (np.einsum("nij,ik,nkj->n", truth[:, :3, :3], turn, poses[:, :3, :3]) - 1) / 2
    centres, true_centres = poses[:, :3, 3], truth[:, :3, 3]
    moved = umeyama(centres, true_centres).apply(centres)
    focal = (alignment.intrinsics[:, 0, 0] / walk.intrinsics[:, 0, 0] - 1).abs().mean()
    ratio = (alignment.anchor_depth / walk.anchor_depth).reshape(len(poses), -1)
    depth = (ratio / ratio.median(1, keepdim=True).values - 1).abs().nanmedian()
    return (
        float(np.degrees(np.arccos(cosine.clip(-1, 1))).mean()),
        float(np.sqrt(np.square(moved - true_centres).sum(-1).mean())),
        100 * float(focal),
        100 * float(depth),
    )


def measure(options: WalkOptions, solver: str) -> Row:
    """Align one walk."""
    cpu = torch.device("cpu")
    walk = synthetic_walk(options)
    reset_peak_memory(cpu)
    problem_mib = peak_memory_mib(cpu)
    start, cpu_start = time.perf_counter(), time.process_time()
    alignment = align(
        walk.problem,
        solver="adam" if solver == "adam" else "lm",
        options={"adam": AdamOptions(), "free": LmOptions.without_priors()}.get(solver, LmOptions()),
        progress=lambda stage, step, most: note(
            f"  {stage} {step}/{most} {time.perf_counter() - start:.1f} s"
        ),
    )
    total, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    coarse, fine = alignment.stages
    return Row(
        options.images,
        len(walk.problem.pairs),
        walk.problem.num_matches,
        options.seed,
        solver,
        total - coarse.seconds - fine.seconds,
        coarse.seconds,
        len(coarse.losses) - 1,
        fine.seconds,
        len(fine.losses) - 1,
        total,
        cpu_seconds,
        problem_mib,
        peak_memory_mib(cpu),
        float(coarse.losses[-1]),
        float(fine.losses[-1]),
        *errors(walk, alignment),
    )


def in_a_process(arguments: argparse.Namespace, images: int, seed: int, solver: str) -> Row:
    """Measure in a fresh process."""
    neighbors = arguments.neighbors or 2 * images
    command = [sys.executable, __file__, "--row", f"--images={images}", f"--neighbors={neighbors}"]
    command += [f"--matches={arguments.matches}", f"--seeds={seed}", f"--solvers={solver}"]
    command += [f"--long-range={arguments.long_range}", f"--threads={arguments.threads}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Row(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[10, 30, 100, 300, 500, 1000])
    parser.add_argument("--neighbors", type=int, default=10, help="of an image along the walk; 0: all pairs")
    parser.add_argument(
        "--long-range", type=float, default=0.2, help="share of images joined to the next row"
    )
    parser.add_argument("--matches", type=int, default=500, help="of a pair")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--solvers", nargs="+", default=["lm"], choices=["lm", "free", "adam"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.row:
        options = WalkOptions(
            images=arguments.images[0],
            neighbors=arguments.neighbors,
            matches=arguments.matches,
            long_range=arguments.long_range,
            seed=arguments.seeds[0],
        )
        sys.stdout.write(json.dumps(asdict(measure(options, arguments.solvers[0]))))
        return
    say(f"{machine_line(torch.device('cpu'))}\n\n{HEADER}\n|{'---|' * HEADER.count(' | ')}---|")
    rows = []
    for images in arguments.images:
        for seed in arguments.seeds:
            for solver in arguments.solvers:
                rows.append(in_a_process(arguments, images, seed, solver))
                say(str(rows[-1]))
                if arguments.json:
                    arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
