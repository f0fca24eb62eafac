"""InfoNCE on many matches: seconds and memory of forward and backward, whole and in parts.

    python benchmarks/matching_loss.py --threads 1
    python benchmarks/matching_loss.py --device cuda

Memory is the peak above what the descriptors and their gradients take. "at once" computes all similarities
together, "in parts" is what the loss does for matrices as large as the published training's: 8 images
(4 pairs in both orders) of 8,192 matches.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from measure import machine_line, note, peak_memory_mib, reset_peak_memory, say, timed
from torch import Tensor

from mast3r_train.losses import InfoNCE, chunking

DIM = 24
HEADER = ("images", "matches", "at once, s", "MiB", "in parts, s", "MiB", "relative difference")


def descriptors(images: int, matches: int, device: torch.device) -> list[Tensor]:
    """Unit descriptors of two views, which want gradients."""
    made = [torch.randn(images, matches, DIM, device=device) for _ in range(2)]
    return [torch.nn.functional.normalize(tensor, dim=-1).requires_grad_() for tensor in made]


def measured(inputs: Sequence[Tensor], largest_at_once: int) -> tuple[float, float, Tensor]:
    """Seconds, MiB and the gradient of the first input."""
    device = inputs[0].device
    chunking.AT_ONCE = largest_at_once
    for tensor in inputs:
        tensor.grad = torch.zeros_like(tensor)
    reset_peak_memory(device)
    before = peak_memory_mib(device)
    criterion = InfoNCE(mode="proper", temperature=0.05)
    seconds = timed(lambda: criterion(*inputs).backward(), device).seconds  # type: ignore[no-untyped-call]
    assert inputs[0].grad is not None
    return seconds, peak_memory_mib(device) - before, inputs[0].grad.clone()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--matches", type=int, default=8192)
    parser.add_argument("--free-gib", type=float, default=8.0, help="leave out what needs more at once")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    note(machine_line(device))
    limit = chunking.AT_ONCE
    for largest in (0, 2**62):  # what is imported and compiled at the first use
        measured(descriptors(1, 4608, device), largest)
    say("| " + " | ".join(HEADER) + " |")
    say("|" + "---|" * len(HEADER))
    for images in options.images:
        inputs = descriptors(images, options.matches, device)
        fits = 3 * 4 * images * options.matches**2 / 2**30 <= options.free_gib
        whole = measured(inputs, 2**62) if fits else None
        parts = measured(inputs, min(limit, images * options.matches**2 - 1))
        figures = [f"{whole[0]:.2f}", f"{whole[1]:.0f}"] if whole else ["", ""]
        figures += [f"{parts[0]:.2f}", f"{parts[1]:.0f}"]
        difference = float((parts[2] - whole[2]).norm() / whole[2].norm()) if whole else None
        figures.append("" if difference is None else f"{difference:.1e}")
        say(f"| {images} | {options.matches} | " + " | ".join(figures) + " |")


if __name__ == "__main__":
    main()
