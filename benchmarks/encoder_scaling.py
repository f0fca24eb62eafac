"""What N images in all pairs cost: each image encoded once, against both images encoded for every pair.

    python benchmarks/encoder_scaling.py
    python benchmarks/encoder_scaling.py --official --device cuda --dtype bf16 --images 2 4 8 16

The network is a reduced one (random weights, encoder and decoder of 384 and 192 channels, head "catconv") on
256x192 images; --official takes the official size and head on 512x384. "decode" includes the heads. The last
two columns are the way without `encode`: its encoder's seconds, and how many times ours that is; it should be
N - 1. Each figure is the best of --repeat runs.
"""

from __future__ import annotations

import argparse
import itertools

import torch
from load_checkpoint import OFFICIAL, SMALL, random_model
from measure import machine_line, note, say, timed
from torch import Tensor, nn

from mast3r_model import AsymmetricMASt3R, resolve_precision

HEADER = (
    "N",
    "pairs",
    "encode s",
    "s / image",
    "decode s",
    "s / pair",
    "every pair encodes both, s",
    "times ours",
)


def network(official: bool, device: str, dtype: str) -> AsymmetricMASt3R:
    """A network with random weights, ready to compute."""
    model = (random_model(OFFICIAL) if official else random_model(SMALL, head_type="catconv")).eval()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    model.precision = resolve_precision(device, dtype)
    return model.to(model.precision.device)


@torch.no_grad()
def row(model: AsymmetricMASt3R, images: list[Tensor], batch_size: int, repeat: int) -> list[str]:
    """Measure one number of images."""
    device = images[0].device
    pairs = list(itertools.combinations(range(len(images)), 2))
    features = model.encode(images, batch_size=batch_size)

    def decode() -> None:
        for _ in model.decode_pairs(features, pairs, batch_size=batch_size):
            pass

    def encode_every_pair() -> None:
        for first, second in pairs:
            model.encode([images[first], images[second]])

    # All three in turns, so that a busy moment of the machine does not meet one of them alone.
    work = (lambda: model.encode(images, batch_size=batch_size), decode, encode_every_pair)
    runs = [[timed(function, device).seconds for function in work] for _ in range(repeat)]
    encoding, decoding, naive = (min(column) for column in zip(*runs, strict=True))
    return [
        str(len(images)),
        str(len(pairs)),
        f"{encoding:.2f}",
        f"{encoding / len(images):.3f}",
        f"{decoding:.2f}",
        f"{decoding / len(pairs):.3f}",
        f"{naive:.2f}",
        f"{naive / encoding:.1f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[2, 4, 6, 8], help="numbers of images")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--official", action="store_true", help="the official size, on 512x384")
    parser.add_argument("--batch-size", type=int, default=2, help="images, and pairs, at a time")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    model = network(arguments.official, arguments.device, arguments.dtype)
    height, width = (384, 512) if arguments.official else (192, 256)
    images = list((torch.rand(max(arguments.images), 3, height, width) * 2 - 1).to(device))
    say(f"{machine_line(device)}\n")
    say("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    row(model, images[:2], arguments.batch_size, 1)  # warm
    note("ready")  # what follows is timed
    for count in arguments.images:
        found = row(model, images[:count], arguments.batch_size, arguments.repeat)
        say("| " + " | ".join(found) + " |")


if __name__ == "__main__":
    main()
