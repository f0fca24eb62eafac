"""Seconds and peak memory by stage of the official MASt3R (688,638,856 random weights) on one 512x384 pair.

    python benchmarks/stages.py                             # fp32 and bf16 on the CPU
    python benchmarks/stages.py --dtypes fp32 --plain       # also the plain network, in the same run
    python benchmarks/stages.py --device cuda --pairs 8     # needs a GPU

Each dtype has a process of its own. "first" is the first call, which reads the memory-mapped weights and
whose peak memory is shown (of the process on a CPU, of PyTorch's allocations on a GPU); "best" is the
shortest of the later ones. "of matmul" is the rate over that of a large square product in the same dtype,
measured just before (--rate compares with the rate of a data sheet instead). --plain takes turns with
softmax(q k^T) v, channels-first convolutions and so on (benchmarks/plain.py). Random weights give meaningless
descriptors, so matching takes synthetic maps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from load_checkpoint import OFFICIAL, SMALL, random_model
from matching_walks import synthetic_passes
from measure import machine_line, matmul_flops, note, peak_memory_mib, reset_peak_memory, say, timed
from plain import plain_pieces
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mast3r_match import MatchOptions, match_maps
from mast3r_model import AsymmetricMASt3R, load_model, save_pretrained

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NETWORK = ("encode", "decode", "heads")
HEADER = ("dtype", "stage", "first s", "best s", "plain s", "plain / ours", "GFLOP", "GFLOP/s", "of matmul")


@dataclass
class Stage:
    """Figures of one stage; the seconds of every call, the first apart."""

    name: str
    first: float
    flops: int
    peak_mib: float
    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)


class PairNetwork:
    """The network's stages on random images; each keeps its result for the next.

    Args:
        model: the network.
        pairs: how many pairs in one batch.
        shape: (height, width) of the images.
        device: where the network is.
    """

    def __init__(
        self, model: AsymmetricMASt3R, pairs: int, shape: tuple[int, int], device: torch.device
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.model, self.pairs, self.shape = model, pairs, shape
        self.images = (torch.rand(2 * pairs, 3, *shape, generator=generator) * 2 - 1).to(device)
        self.maps: list[dict[str, Tensor]] = []

    def encode(self) -> None:
        """All images in one batch."""
        encoded = self.model.encode_batch(self.images)
        self.encoded = encoded.rows(slice(None, self.pairs)), encoded.rows(slice(self.pairs, None))

    def decode(self) -> None:
        """All pairs in one batch."""
        self.outputs = self.model.decode(*self.encoded)

    def heads(self) -> None:
        """Both heads."""
        outputs1, outputs2 = self.outputs
        self.maps = [self.model.head(1, outputs1, self.shape), self.model.head(2, outputs2, self.shape)]

    def stages(self) -> dict[str, Callable[[], None]]:
        """The stages in order."""
        return {"encode": self.encode, "decode": self.decode, "heads": self.heads}


def first_call(name: str, function: Callable[[], object], device: torch.device) -> Stage:
    """Time a first call, count its floating-point operations and take its peak memory."""
    note(f"{name}: first call")
    reset_peak_memory(device)
    with FlopCounterMode(display=False) as counter:
        seconds = timed(function, device).seconds
    return Stage(name, seconds, counter.get_total_flops(), peak_memory_mib(device))


def take_turns(
    network: PairNetwork, stages: dict[str, Stage], device: torch.device, repeat: int, with_plain: bool
) -> float:
    """Time the stages, ours and plain in turns; return the largest difference of their points, relative."""
    deviation = 0.0
    for _ in range(repeat):
        kept: list[dict[str, Tensor]] = []
        for plain in (False, True) if with_plain else (False,):
            note("a pass of the plain network" if plain else "a pass of the network")
            with plain_pieces() if plain else nullcontext():
                for name, function in network.stages().items():
                    seconds = timed(function, device).seconds
                    (stages[name].plain if plain else stages[name].ours).append(seconds)
            for ours, other in zip(kept, network.maps, strict=False):
                difference = (ours["pts3d"] - other["pts3d"]).norm() / ours["pts3d"].norm()
                deviation = max(deviation, float(difference))
            kept = network.maps
    return deviation


@torch.no_grad()
def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """All stages in one dtype."""
    device, dtype = torch.device(arguments.device), arguments.dtypes[0]
    torch.set_num_threads(arguments.threads)
    maps = synthetic_passes(*arguments.size)[0]
    maps = type(maps)(*(getattr(maps, name).to(device) for name in maps.__dataclass_fields__))
    models: list[AsymmetricMASt3R] = []
    load = first_call(
        "load", lambda: models.append(load_model(arguments.measure, device=str(device), dtype=dtype)), device
    )
    network = PairNetwork(models[0], arguments.pairs, tuple(arguments.size), device)
    stages = {name: first_call(name, run, device) for name, run in network.stages().items()}

    def match() -> None:
        match_maps(maps, options=MatchOptions(subsample=8))

    matching = first_call("matching", match, device)
    note("ready")  # what follows is timed
    rate = 1e12 * arguments.rate or matmul_flops(device, DTYPES[dtype])
    deviation = take_turns(network, stages, device, arguments.repeat, arguments.plain and dtype == "fp32")
    note("matching")
    matching.ours = [timed(match, device).seconds for _ in range(arguments.repeat)]
    return {
        "stages": [asdict(stage) for stage in (load, *stages.values(), matching)],
        "rate": rate,
        "deviation": deviation,
    }


def cells(dtype: str, stage: Stage, rate: float) -> list[str]:
    """One table row."""
    best = min(stage.ours, default=0.0)
    per_second = stage.flops / best if best and stage.name in (*NETWORK, "network") else 0.0
    plain = min(stage.plain, default=0.0)
    return [
        dtype,
        stage.name,
        f"{stage.first:.2f}",
        f"{best:.3f}" if best else "",
        f"{plain:.3f}" if plain else "",
        f"{plain / best:.2f}" if plain else "",
        f"{stage.flops / 1e9:.0f}" if per_second else "",
        f"{per_second / 1e9:.0f}" if per_second else "",
        f"{per_second / rate:.0%}" if per_second else "",
        f"{stage.peak_mib:.0f}",
    ]


def network_total(stages: list[Stage]) -> Stage:
    """Encoder, decoder and heads together: sums of their best times."""
    parts = [stage for stage in stages if stage.name in NETWORK]
    return Stage(
        "network",
        sum(stage.first for stage in parts),
        sum(stage.flops for stage in parts),
        max(stage.peak_mib for stage in parts),
        [sum(min(stage.ours) for stage in parts)] if all(stage.ours for stage in parts) else [],
        [sum(min(stage.plain) for stage in parts)] if all(stage.plain for stage in parts) else [],
    )


def table(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure every dtype in a process of its own and print the rows."""
    say("| " + " | ".join((*HEADER, "peak MiB")) + " |\n" + "|---" * (len(HEADER) + 1) + "|")
    notes = []
    for dtype in arguments.dtypes:
        options = ["--device", arguments.device, "--dtypes", dtype, "--pairs", str(arguments.pairs)]
        options += ["--repeat", str(arguments.repeat), "--threads", str(arguments.threads)]
        options += ["--size", *map(str, arguments.size), "--rate", str(arguments.rate)]
        options += ["--plain"] if arguments.plain else []
        command = [sys.executable, __file__, "--measure", str(folder), *options]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        stages = [Stage(**stage) for stage in found["stages"]]
        stages.insert(-1, network_total(stages))
        for stage in stages:
            say("| " + " | ".join(cells(dtype, stage, found["rate"])) + " |")
        notes.append(f"{dtype}: a large matrix product reaches {found['rate'] / 1e9:.0f} GFLOP/s")
        if arguments.plain and dtype == "fp32":
            notes.append(f"points of the plain network differ by {found['deviation']:.1e} (relative norm)")
    say("\n" + "; ".join(notes))


def write_checkpoint(folder: Path, small: bool) -> int:
    """A network with small random weights and layer norms that keep their scale; returns its size."""
    model = random_model(SMALL if small else OFFICIAL)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    save_pretrained(model, folder)
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    """Write the checkpoint, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["fp32", "bf16"])
    parser.add_argument("--pairs", type=int, default=1, help="pairs in one batch")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(384, 512), metavar=("HEIGHT", "WIDTH"), help="of the images"
    )
    parser.add_argument("--repeat", type=int, default=3, help="calls after the first")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--plain", action="store_true", help="take turns with the plain network (fp32)")
    parser.add_argument("--rate", type=float, default=0.0, help="TFLOP/s to compare with")
    parser.add_argument("--small", action="store_true", help="a network of 104 M parameters instead")
    parser.add_argument("--folder", type=Path, help="where to write the checkpoint (default: temporary)")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        sys.stdout.write(json.dumps(measure(arguments)))
        return
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        count = write_checkpoint(Path(folder), arguments.small)
        height, width = arguments.size
        say(f"{machine_line(torch.device(arguments.device))}\n")
        say(f"{count:,} parameters, {arguments.pairs} pair(s) of {width}x{height}\n")
        table(arguments, Path(folder))


if __name__ == "__main__":
    main()
