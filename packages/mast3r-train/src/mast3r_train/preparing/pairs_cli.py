"""``mast3r data pairs NAME``: the pair file of a dataset whose release has no pairs (spec 41 section 16)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from mast3r_model import ConfigError, InputError, registry
from mast3r_model.cli import CommandContext, argument, command, complete_names, option
from mast3r_model.plugins import suggestion


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no list of whole numbers such as 1,2,4") from error


@command(
    "pairs",
    examples=(
        "mast3r data pairs TartanAir --root data/tartanair_processed --workers 8",
        "mast3r data pairs DL3DV --root data/dl3dv_processed --strides 1,2,4 --max-pairs 100_000",
    ),
)
@argument(
    "name",
    shell_complete=complete_names("datasets"),
    help="The dataset, as in expressions: TartanAir, DL3DV, ...",
)
@option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    section="Data",
    help="Its folder; default: where the loader looks.",
)
@option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    section="Output",
    help="The file to write; default: where the loader looks.",
)
@option(
    "--raw",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    section="Data",
    help="The public release, where pairs come from a list in it (NianticMapFree: overlaps.npz).",
)
@option(
    "--workers", type=click.IntRange(min=1), default=1, section="Data", help="Processes at the same time."
)
@option(
    "--strides",
    callback=_numbers,
    metavar="1,2,4",
    section="Pairs",
    help="Distances in frames to look at; default: the dataset's own.",
)
@option(
    "--random",
    "random_partners",
    type=click.IntRange(min=0),
    section="Pairs",
    help="Random pairs per frame to look at besides; default: the dataset's own.",
)
@option(
    "--min-overlap",
    type=click.FloatRange(0, 1),
    section="Pairs",
    help="Least overlap; default: the dataset's own, mostly 0.1.",
)
@option(
    "--max-overlap",
    type=click.FloatRange(0, 1),
    section="Pairs",
    help="Most overlap; default: the dataset's own, mostly 0.95.",
)
@option(
    "--partners", type=click.IntRange(min=1), default=10, section="Pairs", help="Most pairs of one image."
)
@option(
    "--max-pairs", type=click.IntRange(min=1), section="Pairs", help="Most pairs in all; drawn by weight."
)
@option("--seed", type=click.IntRange(min=0), default=777, section="Pairs", help="Of the draws.")
def pairs_command(
    context: CommandContext,
    name: str,
    root: Path | None,
    out: Path | None,
    raw: Path | None,
    workers: int,
    **choice: Any,
) -> None:
    """Find good pairs in a prepared dataset whose release has none, and write its pair file."""
    from mast3r_train.datasets.roots import find_root

    from .pair_making import make_pair_file, settings_of

    dataset = _dataset(name)
    folder = dataset.folder_type(
        find_root(dataset.names or (dataset.__name__,), root, dataset.default_folder)
    )
    if raw is not None:
        folder = folder.with_release(raw)
    path = out or folder.root / dataset.pairs_file

    def track(results: Iterable[Any], total: int) -> Iterable[Any]:
        return context.track(results, f"pairs of {name}", total)

    with context.timed("pairs"):
        report = make_pair_file(folder, path, settings_of(folder, **choice), workers=workers, track=track)
    context.result(
        out=path,
        pairs=report.pairs,
        scenes=report.scenes,
        failed=report.failed,
        unreadable=list(report.unreadable),
    )
    context.say(f"{report.pairs:,} pairs in {report.scenes:,} scenes: {path}")
    if report.failed:
        context.partial(
            f"{len(report.failed):,} scenes without pairs: {'; '.join(list(report.failed.values())[:5])}"
        )
    if report.unreadable:
        context.partial(f"{len(report.unreadable):,} frames left out: {'; '.join(report.unreadable[:5])}")


def _dataset(name: str) -> Any:
    """The class of a dataset that reads a pair file of ours; capitals do not matter."""
    from mast3r_train.datasets.posed_frames import PosedPairs

    known = registry("datasets")
    spelled = next((other for other in known.names() if other.lower() == name.lower()), None)
    if spelled is None:
        raise InputError(f"no dataset is called {name!r}", hint=suggestion(name, known.names()))
    found = known[spelled]
    if not (isinstance(found, type) and issubclass(found, PosedPairs)):
        raise ConfigError(
            f"{spelled} does not read a pair file of ours: its pairs are published, or it needs none"
        )
    return found
