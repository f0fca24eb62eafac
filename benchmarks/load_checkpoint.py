"""Time and peak memory of loading a checkpoint of the official size (random weights), in fresh processes.

    uv run python benchmarks/load_checkpoint.py [--small] [--folder DIR] [--repeat 3]

Every row is the best of --repeat processes, from a warm disk cache. "load" is the call of load_model alone,
"use" is reading every weight once after it, "memory" is the process's peak beyond that of loading a network
of no size, also as a multiple of the weights' own size in memory: four bytes each, whatever the file stores.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from mast3r_model import AsymmetricMASt3R, load_model, save_pretrained, save_pth

Sizes: TypeAlias = dict[str, tuple[int, int, int]]

HEADS = {
    "pos_embed": "RoPE100",
    "img_size": (512, 512),
    "head_type": "catmlp+dpt",
    "output_mode": "pts3d+desc24",
    "two_confs": True,
    "desc_conf_mode": ("exp", 0, math.inf),
}
WIDTHS = ("embed_dim", "depth", "num_heads")
OFFICIAL = {"enc": (1024, 24, 16), "dec": (768, 12, 12)}
SMALL = {"enc": (384, 12, 6), "dec": (192, 10, 3)}
TINY = {"enc": (16, 1, 1), "dec": (16, 1, 1)}


def main() -> None:
    """Write the checkpoints, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a network of 104 M parameters instead of 689 M")
    parser.add_argument("--folder", type=Path, help="where to write the files (default: a temporary folder)")
    parser.add_argument("--repeat", type=int, default=3, help="processes per row")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report(Path(folder), SMALL if options.small else OFFICIAL, options.repeat)


def report(folder: Path, sizes: Sizes, repeat: int) -> None:
    """Measure every layout and print one line each."""
    save_pretrained(random_model(TINY, head_type="catconv"), folder / "tiny")
    model = random_model(sizes)
    count = sum(parameter.numel() for parameter in model.parameters())
    layouts = {
        ".pth": save_pth(model, folder / "model.pth"),
        "folder, fp32": save_pretrained(model, folder / "fp32"),
        "folder, fp16": save_pretrained(model, folder / "fp16", dtype="fp16"),
    }
    del model
    baseline = best(folder / "tiny", repeat)["memory_mb"]
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    write(f"{count:,} parameters; torch {torch.__version__}, {machine}")
    write(f"{'layout':14} {'file MB':>8} {'load s':>7} {'use s':>6} {'memory MB':>10} {'of weights':>10}")
    for name, path in layouts.items():
        file_mb = (path / "model.safetensors" if path.is_dir() else path).stat().st_size / 1e6
        row = best(path, repeat)
        beyond = row["memory_mb"] - baseline
        write(
            f"{name:14} {file_mb:8.0f} {row['load_s']:7.2f} {row['use_s']:6.2f} {beyond:10.0f} "
            f"{beyond / (4e-6 * count):9.2f}x"
        )


def random_model(sizes: Sizes, **keywords: Any) -> AsymmetricMASt3R:
    """A network whose weights are small random numbers; not initialised, which would take minutes."""
    widths = {
        f"{side}_{what}": size for side in sizes for what, size in zip(WIDTHS, sizes[side], strict=True)
    }
    with torch.device("meta"):
        model = AsymmetricMASt3R(**(HEADS | widths | keywords))
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.02, 0.02)
    return model


def best(path: Path, repeat: int) -> dict[str, float]:
    """The smallest of every number over several processes."""
    command = [sys.executable, __file__, "--measure", str(path)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(repeat)
    ]
    return {key: min(run[key] for run in runs) for key in runs[0]}


def measure(path: str) -> dict[str, float]:
    """Load a checkpoint in this process."""
    started = time.perf_counter()
    model = load_model(path, device="cpu")
    loaded = time.perf_counter()
    sum(float(parameter.detach().sum()) for parameter in model.parameters())
    used = time.perf_counter()
    return {"load_s": loaded - started, "use_s": used - loaded, "memory_mb": peak_memory_mb()}


def peak_memory_mb() -> float:
    """This program's peak resident memory (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else math.nan


def write(line: str) -> None:
    """Print one line of the table."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
