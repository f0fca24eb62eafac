"""Whole reconstructions of synthetic walks: images, pairs, seconds and peak memory by stage.

    python benchmarks/reconstructions.py --images 10 30 100 --graphs complete retrieval-20-10

Photos are views of one synthetic scene along a walk; the network is ``nano``, or with ``--network oracle``
one that knows the truth (its own time means nothing). Every row is a process of its own, so that its peak
memory is its own. For alignment alone, up to a thousand images: ``alignment.py``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from measure import machine_line, note, say

from mast3r_model import load_model
from mast3r_sfm import ReconstructionOptions, compare_cameras, open_images, read_cameras, reconstruct
from mast3r_train.synthetic import OracleNetwork, OracleNoise, render_scene_views

STAGES = ("pairs", "predictions", "canonical views", "alignment", "depth", "tracks", "refinement")


def main() -> None:
    """Print the table, a row as soon as it is there."""
    options = parser().parse_args()
    if options.row:
        say(json.dumps(measure(options)))
        return
    say(machine_line(torch.device("cpu")))
    stages = " | ".join(f"{name}, s / MiB" for name in STAGES)
    say(f"| images | graph | pairs | {stages} | placed | rot, deg |")
    say("|" + "---|" * (5 + len(STAGES)))
    rows = []
    for count in options.images:
        for graph in options.graphs:
            command = [sys.executable, __file__, "--row", "--images", str(count), "--graphs", graph]
            command += ["--size", *map(str, options.size), "--network", options.network]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                note(f"{count} images, {graph}: {done.stderr.strip().splitlines()[-1:]}")
                continue
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            say(table_row(rows[-1]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    made.add_argument("--images", type=int, nargs="+", default=[10, 30, 100])
    made.add_argument("--graphs", nargs="+", default=["complete", "retrieval-20-10"])
    made.add_argument("--size", type=int, nargs=2, default=[160, 112], metavar=("WIDTH", "HEIGHT"))
    made.add_argument("--network", default="nano", help="a model's name, or oracle")
    made.add_argument("--json", type=Path)
    made.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    return made


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One reconstruction."""
    (count,), (graph,), (width, height) = options.images, options.graphs, options.size
    views = render_scene_views(0, count, path="walk", shape=(height, width))
    oracle = options.network == "oracle"
    model: Any = OracleNetwork(views, OracleNoise.realistic()) if oracle else load_model(options.network)
    with tempfile.TemporaryDirectory() as folder:
        images = open_images([views.save(folder)], size=width)
        scene = reconstruct(
            images, model, cache=f"{folder}/cache", options=ReconstructionOptions(graph=graph)
        )
        errors = compare_cameras(scene.components()[0].cameras(), read_cameras(folder))
    return {
        "images": count,
        "graph": graph,
        "pairs": len(scene.report["pairs"]),
        "stages": scene.report["stages"],
        "placed": scene.report["placed"],
        "rotation_deg": errors.rotation_error_mean,
    }


def table_row(row: dict[str, Any]) -> str:
    """A row of Markdown."""
    by_name = {stage["name"]: stage for stage in row["stages"]}
    cells = [_cell(by_name[name]) if name in by_name else "" for name in STAGES]
    ends = [str(row["placed"]), f"{row['rotation_deg']:.2f}"]
    return f"| {row['images']} | {row['graph']} | {row['pairs']} | {' | '.join([*cells, *ends])} |"


def _cell(stage: dict[str, Any]) -> str:
    return f"{stage['seconds']:.1f} / {stage['peak_bytes'] / 2**20:.0f}"


if __name__ == "__main__":
    main()
