"""What the benchmarks share: time, peak memory, the rate of a matrix product, a line about the machine."""

from __future__ import annotations

import ctypes
import gc
import math
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")

MATMUL_SIDE = {"cpu": 2048, "cuda": 8192}
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Measurement(Generic[Result]):
    """One call.

    Attributes:
        seconds: wall-clock time, the device's work included.
        result: what it returned.
    """

    seconds: float
    result: Result


def synchronize(device: torch.device) -> None:
    """Wait for the device's work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(function: Callable[[], Result], device: torch.device) -> Measurement[Result]:
    """Call once."""
    synchronize(device)
    start = time.perf_counter()
    result = function()
    synchronize(device)
    return Measurement(time.perf_counter() - start, result)


def best_of(function: Callable[[], object], device: torch.device, repeat: int) -> float:
    """The shortest of several calls, after one that does not count."""
    function()
    return min(timed(function, device).seconds for _ in range(repeat))


def reset_peak_memory(device: torch.device) -> None:
    """Let the next peak start from what is in use now."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    if platform.system() == "Linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mib(device: torch.device) -> float:
    """Peak since the last reset: PyTorch's allocations on a GPU, else this process (Linux; else NaN)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 2**10 if found else math.nan


def matmul_flops(device: torch.device, dtype: torch.dtype, repeat: int = 5) -> float:
    """FLOP per second of a large square product, the ceiling that the stages are compared with."""
    side = MATMUL_SIDE.get(device.type, 2048)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / best_of(lambda: left @ right, device, repeat)


def machine_line(device: torch.device) -> str:
    """Hardware, versions, commit and date, for the record beside every figure."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return (
        f"{hardware}; torch {torch.__version__}, {torch.get_num_threads()} threads; "
        f"commit {commit or 'unknown'}, {date.today().isoformat()}"
    )


def _processor() -> str:
    """The processor's name and which of the instructions that matter here it has."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor() or platform.machine()
    text = information.read_text()
    name = re.search(r"model name\s*:\s*(.+)", text)
    flags = set(re.search(r"flags\s*:\s*(.+)", text)[1].split()) if "flags" in text else set()  # type: ignore[index]
    present = [flag for flag in INSTRUCTIONS if flag in flags]
    missing = [flag for flag in INSTRUCTIONS if flag not in flags]
    return f"{name[1] if name else platform.machine()} (has {', '.join(present)}; lacks {', '.join(missing)})"


def say(line: str) -> None:
    """One line of the table, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """One line of progress, apart from the table."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
