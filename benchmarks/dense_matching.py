"""Exact nearest neighbours of all pixels of a 512x384 pair, both directions, against a plain matrix product.

    python benchmarks/dense_matching.py                          # fp32 on the CPU
    python benchmarks/dense_matching.py --device cuda --precisions fp32 bf16

Both sides have 196,608 descriptors of 24 numbers: 38.7e9 scores, 144 GiB if they were stored. "matmul" makes
the same scores tile by tile into one buffer and looks at none of them; no exact search by matrix products can
be faster. Each row has a process of its own, so that its peak memory is its own ("memory": beyond what the
process had before; all of it on a CPU, PyTorch's allocations on a GPU).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
from matching_walks import synthetic_passes
from measure import machine_line, note, peak_memory_mib, reset_peak_memory, say, timed
from torch import Tensor

from mast3r_match import nearest_neighbors

TILES = {"cpu": (256, 1024), "cuda": (8192, 8192)}
WORK = ("matmul", "one direction", "both directions")
HEADER = ("precision", "work", "s", "of the matmul's speed", "memory MiB", "peak MiB", "mutual pairs")


def descriptors(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """All pixels' descriptors of a synthetic pair."""
    maps = synthetic_passes(*size)[0]
    first, second = (part.flatten(0, 1).to(device) for part in (maps.descriptors0, maps.descriptors1))
    return first, second


def multiply(queries: Tensor, database: Tensor, threads: int) -> None:
    """Every score once, in tiles that a core's cache (CPU) or the memory (GPU) holds; nothing is kept."""
    height, width = TILES[queries.device.type]

    def row_of_tiles(start: int) -> None:
        columns = queries[start : start + height].T.contiguous()
        buffer = queries.new_empty(width, height)
        for j in range(0, len(database), width):
            part = database[j : j + width]
            torch.mm(part, columns, out=buffer[: len(part), : columns.shape[1]])

    starts = range(0, len(queries), height)
    if queries.device.type != "cpu":
        for start in starts:
            row_of_tiles(start)
        return
    # Tiles are too small for torch's own threads to share one.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for _ in pool.map(row_of_tiles, starts):
            pass


@torch.no_grad()
def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """One kind of work in this process."""
    device, precision, work = torch.device(arguments.device), arguments.precisions[0], arguments.measure
    torch.set_num_threads(arguments.threads)
    queries, database = descriptors(arguments.size, device)
    both = work == "both directions"
    if work == "matmul" and precision == "bf16":
        queries, database = queries.bfloat16(), database.bfloat16()

    def run() -> object:
        if work == "matmul":
            return multiply(queries, database, arguments.threads)
        return nearest_neighbors(queries, database, both_directions=both, precision=precision)

    if device.type == "cuda":
        run()  # compiles the kernel
    note("ready")  # what follows is timed
    reset_peak_memory(device)
    before = peak_memory_mib(device)
    calls = [timed(run, device) for _ in range(arguments.repeat)]
    peak = peak_memory_mib(device)
    found = {
        "seconds": min(call.seconds for call in calls),
        "memory": peak - before,
        "peak": peak,
        "mutual": 0,
    }
    if both:
        tables = calls[0].result
        found["mutual"] = int(
            (tables.column_index[tables.row_index] == torch.arange(len(queries), device=device)).sum()
        )
    return found


def table(arguments: argparse.Namespace) -> None:
    """Measure every kind of work in a process of its own and print the rows."""
    say("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    for precision in arguments.precisions:
        matmul = 0.0
        for work in WORK:
            options = ["--device", arguments.device, "--precisions", precision, "--size"]
            options += [*map(str, arguments.size), "--repeat", str(arguments.repeat)]
            options += ["--threads", str(arguments.threads)]
            command = [sys.executable, __file__, "--measure", work, *options]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            matmul = matmul or found["seconds"]
            row = [precision, work, f"{found['seconds']:.2f}", f"{matmul / found['seconds']:.0%}"]
            row += [f"{found['memory']:.0f}", f"{found['peak']:.0f}", str(found["mutual"] or "")]
            say("| " + " | ".join(row) + " |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--size", type=int, nargs=2, default=(384, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure", choices=WORK, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        sys.stdout.write(json.dumps(measure(arguments)))
        return
    torch.set_num_threads(arguments.threads)
    say(f"{machine_line(torch.device(arguments.device))}\n")
    table(arguments)


if __name__ == "__main__":
    main()
