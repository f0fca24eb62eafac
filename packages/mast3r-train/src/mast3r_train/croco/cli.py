"""The commands ``mast3r pretrain-croco``, ``mast3r data croco-crops`` and ``mast3r data croco-pairs``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from mast3r_model.cli import CommandContext, argument, command, option, output_option, refuse_existing, run
from mast3r_train.cli import run_and_report, settings_options
from mast3r_train.croco.config import PretrainConfig
from mast3r_train.process_cli import ProcessCommand, told_once_a_machine

EXAMPLES = (
    "mast3r pretrain-croco --dataset folder:pairs/ --max_epoch 20 --epochs 40 -o runs/croco",
    "mast3r pretrain-croco --dataset habitat_release+ARKitScenes --data_dir data/ --dry-run",
    "mast3r pretrain-croco --dataset folder:pairs/ --nproc-per-node gpu",
)

EPILOG = """The output folder holds checkpoint-last.pth, checkpoint-<epoch>.pth, log.txt, steps.jsonl,
curves.png and TensorBoard events. The same command again goes on from checkpoint-last.pth, also after a
kill."""


@click.command("pretrain-croco", cls=ProcessCommand, examples=EXAMPLES, epilog=EPILOG, verbosity=1)
@settings_options(PretrainConfig)
def pretrain_command(context: CommandContext, **flags: Any) -> None:
    """Pretrain a backbone (CroCo) on pairs of photos of the same places, without any labels."""
    from mast3r_train.croco.pretraining import pretrain

    with told_once_a_machine():
        config = PretrainConfig(**flags)
    run_and_report(
        context,
        config,
        partial(pretrain, config),
        module="mast3r_train.croco",
        then="mast3r train --pretrained {} ...",
    )


@command(
    "data croco-crops",
    examples=[
        "mast3r data croco-crops crops.txt --images ARKitScenes/ -o data/ARKitScenes_crops --workers 8",
        "mast3r data croco-crops crops.txt --images photos/ --size 128 -o data/Mine_crops",
    ],
)
@argument(
    "crop_list",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file: 'photo1, photo2, degrees', then lines 'l1, r1, t1, b1, l2, r2, t2, b2'.",
)
@option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    section="Input",
    help="Folder that the list's photos are relative to.",
)
@option(
    "--size", type=click.IntRange(min=16), default=256, section="Output", help="Side of a crop in pixels."
)
@option("--quality", type=click.IntRange(1, 95), default=95, section="Output", help="Of the JPEG files.")
@option("--workers", type=click.IntRange(min=1), default=1, section="Output", help="Processes.")
@option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    section="Output",
    help="Folder to write; crops that are there are kept.",
)
def crops_command(
    context: CommandContext, crop_list: Path, images: Path, output: Path, **settings: int
) -> None:
    """Cut the crops of a list out of photos, for pretraining."""
    from mast3r_train.croco.crops import extract_crops

    def track(results: Iterable[Any], total: int) -> Iterable[Any]:
        return context.track(results, "cutting", total)

    report = extract_crops(crop_list, images, output, track=track, **settings)
    context.result(output=output, made=report.made, kept=report.kept, failed=dict(report.failed))
    context.say(f"crops of {report.made:,} pairs of photos cut, of {report.kept:,} were there: {output}")
    if report.failed:
        context.partial(
            f"{len(report.failed):,} pairs of photos could not be used, such as {next(iter(report.failed))}"
        )


@command(
    "data croco-pairs",
    examples=["mast3r data croco-pairs -o pairs/", "mast3r data croco-pairs --count 1000 --seed 1 -o more/"],
)
@option("--count", type=click.IntRange(min=1), default=64, section="Input", help="Number of pairs.")
@option(
    "--size", type=click.IntRange(min=16), default=256, section="Input", help="Side of an image in pixels."
)
@option("--seed", type=int, default=0, section="Input", help="Of the scenes.")
@output_option(help="Folder to write.", required=True)
def pairs_command(
    context: CommandContext, count: int, size: int, seed: int, output: Path, overwrite: bool
) -> None:
    """Render pairs of views of synthetic scenes as JPEG files, to try pretraining on."""
    from mast3r_train.croco.synthetic_pairs import render_pairs

    refuse_existing(output, overwrite=overwrite)
    render_pairs(
        output, count, size=size, seed=seed, track=lambda groups, n: context.track(groups, "rendering", n)
    )
    context.result(output=output, count=count)
    context.say(f"{count} pairs: {output}")
    context.note(f"next: mast3r pretrain-croco --dataset folder:{output} ...")


def main() -> int:
    """``python -m mast3r_train.croco``; returns the exit code."""
    return run(pretrain_command, program="python -m mast3r_train.croco")
