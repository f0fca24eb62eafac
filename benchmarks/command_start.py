"""How long the program takes to say something: processes of ``mast3r --help`` and of other quick commands.

    python benchmarks/command_start.py
    python benchmarks/command_start.py --repeat 20

Seconds by the clock and of the processor, the least and the median of several processes. The aim of the
specification (60 F1) is 0.15 s, its bound 0.5 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

import torch
from measure import machine_line, say

COMMANDS = ("--help", "sfm --help", "demo --help", "models list", "plugins")


def seconds(words: list[str]) -> tuple[float, float]:
    """Of one process: by the clock, and of the processor."""
    processor, started = sum(os.times()[2:4]), time.perf_counter()
    subprocess.run([sys.executable, "-m", "mast3r_model", *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started, sum(os.times()[2:4]) - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeat", type=int, default=10, help="processes of each command")
    arguments = parser.parse_args()
    say(machine_line(torch.device("cpu")))
    say("| command | clock, least s | median s | processor, least s |")
    say("|---|---|---|---|")
    for command in COMMANDS:
        clock, processor = zip(*(seconds(command.split()) for _ in range(arguments.repeat)), strict=True)
        say(
            f"| `mast3r {command}` | {min(clock):.2f} | {statistics.median(clock):.2f} "
            f"| {min(processor):.2f} |"
        )


if __name__ == "__main__":
    main()
