"""Time curope's back ends against the PyTorch twin, and against a plain copy of the tokens.

    python benchmarks/curope_rope2d.py                  # the GPU if there is one, else the CPU
    python benchmarks/curope_rope2d.py --device cpu --threads 1

On a GPU, build the CUDA back end first (``python -m curope.build --arch native``), else its rows are missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

import curope

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
VARIABLE = "CUROPE_BACKEND"


@dataclass(frozen=True)
class Case:
    """Queries as the network makes them: a view of a fused qkv."""

    name: str
    batch: int
    heads: int
    count: int
    head_dim: int

    def sample(self, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
        """Tokens (batch, heads, tokens, head_dim) and positions (batch, tokens, 2)."""
        qkv = torch.randn(self.batch, self.count, 3, self.heads, self.head_dim, device=device).to(dtype)
        width = 32
        index = torch.arange(self.count, device=device)
        positions = torch.stack((index // width, index % width), dim=-1).expand(self.batch, -1, -1)
        return qkv[:, :, 0].transpose(1, 2), positions.contiguous()


CASES = (
    Case("encoder, one pair", 2, 16, 768, 64),
    Case("decoder, one pair", 2, 12, 768, 64),
    Case("encoder, 16 images", 16, 16, 768, 64),
    Case("head_dim 48", 2, 16, 768, 48),
    Case("head_dim 128", 2, 8, 768, 128),
)


@contextmanager
def using(backend: str) -> Iterator[None]:
    """Let one back end rotate."""
    os.environ[VARIABLE] = backend
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def seconds(function: Callable[[], object], device: str, repeats: int) -> float:
    """Median time of a call; on a GPU of the GPU's own work, twenty calls at a time."""
    for _ in range(3):
        function()
    times = []
    for _ in range(repeats):
        if device == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            torch.cuda._sleep(20_000_000)  # the launches queue up behind it, so that only the GPU is timed
            start.record()
            for _ in range(20):
                function()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / 20e3)
        else:
            begin = time.perf_counter()
            function()
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def usable(device: str) -> list[str]:
    """The back ends to time; says on standard error why others are left out."""
    report = curope.backend(device)
    for name, available in report.available.items():
        if not available:
            sys.stderr.write(f"without {name}: {available.reason}\n")
    return [name for name in ("reference", "triton", "cuda") if report.available[name]]


def rows(case: Case, dtype: torch.dtype, device: str, backends: list[str], repeats: int) -> Iterator[str]:
    """One table row per back end: forward, in place, forward and backward."""
    tokens, positions = case.sample(dtype, device)
    grad = torch.randn_like(tokens)
    traffic = 2 * tokens.numel() * tokens.element_size()
    copy = seconds(tokens.clone, device, repeats)
    leaf = tokens.detach().clone().requires_grad_()
    twin = 0.0

    def forward_and_backward() -> None:
        leaf.grad = None
        curope.rope2d(leaf, positions).backward(grad)

    for name in backends:
        with using(name):
            forward = seconds(lambda: curope.rope2d(tokens, positions), device, repeats)
            in_place = seconds(lambda: curope.rope2d_(tokens, positions), device, repeats)
            both = seconds(forward_and_backward, device, repeats)
        twin = twin or forward
        yield (
            f"| {case.name} | {str(dtype).removeprefix('torch.')} | {name} | {1e3 * forward:.3f} | "
            f"{1e3 * in_place:.3f} | {1e3 * both:.3f} | {traffic / forward / 1e9:.1f} | "
            f"{twin / forward:.2f} | {forward / copy:.2f} |\n"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    on_gpu = arguments.device == "cuda"
    machine = (
        torch.cuda.get_device_name() if on_gpu else f"{platform.machine()} CPU, {arguments.threads} threads"
    )
    sys.stdout.write(f"PyTorch {torch.__version__}, {machine}\n\n")
    sys.stdout.write("| case | dtype | back end | forward ms | in place ms | forward+backward ms | GB/s | ")
    sys.stdout.write("twin / this | this / copy |\n" + "|---" * 9 + "|\n")
    backends = usable(arguments.device)
    for case in CASES:
        for dtype in arguments.dtypes:
            for row in rows(case, DTYPES[dtype], arguments.device, backends, arguments.repeats):
                sys.stdout.write(row)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
