"""``mast3r data sky``: masks for ``mask_sky=True`` (spec 41 section 15)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from mast3r_model.cli import CommandContext, argument, command, option

DATASETS = {"blendedmvs": "BlendedMVS", "megadepth": "MegaDepth"}
"""Name on the command line -> registered name of a dataset with ``mask_sky``."""


@command("sky", examples=("mast3r data sky megadepth", "mast3r data sky blendedmvs --root /data/blendedmvs"))
@argument("dataset", type=click.Choice(tuple(DATASETS)), help="Whose photos.")
@option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    section="Input",
    help="Its prepared folder, if it is not at the usual place.",
)
@option(
    "--using",
    metavar="NAME",
    section="Quality",
    help="Which installed plugin finds the sky, if there are several.",
)
def sky_command(context: CommandContext, dataset: str, root: Path | None, using: str | None) -> None:
    """Mask the sky of a prepared dataset's photos, with a plugin that finds it."""
    from mast3r_model import registry
    from mast3r_train.datasets.roots import find_root
    from mast3r_train.views import PairDataset

    from .framework import run_preparation
    from .sky import choose_segmenter, plan_sky_masks

    name = choose_segmenter(using)
    known: Any = registry("datasets")[DATASETS[dataset]]
    assert issubclass(known, PairDataset)
    folder = find_root(known.names, root, known.default_folder)

    def track(results: Iterable[Any], total: int) -> Iterable[Any]:
        return context.track(results, "masking sky", total)

    with context.timed("sky"):
        report = run_preparation(plan_sky_masks(folder, name), track=track)
    context.result(root=folder, plugin=name, made=report.made, kept=report.kept, failed=dict(report.failed))
    context.say(f"{report.made:,} masks made with {name}, {report.kept:,} were there: {folder}")
    if report.failed:
        context.partial(
            f"{len(report.failed):,} photos could not be masked: {next(iter(report.failed))}, ..."
        )
