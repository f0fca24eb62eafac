"""``mast3r data prepare``, the registered preprocessors as a group of commands; ``mast3r data check``."""

from __future__ import annotations

from collections import Counter

import click

from mast3r_model import InputError, PluginError, registry
from mast3r_model.cli import CommandContext, CommandGroup, argument, command, complete_dataset, option


class PrepareGroup(CommandGroup):
    """A command for each name of the plugin kind ``preprocessors``, imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        # Those that find the sky are for `mast3r data sky`.
        return [name for name in registry("preprocessors").names() if not name.startswith("sky-")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = registry("preprocessors")
        if cmd_name not in self.list_commands(ctx):
            return None
        found = known[cmd_name]
        if not isinstance(found, click.Command):
            raise PluginError(
                f"plugin {known.owner(cmd_name)!r} gives a {type(found).__name__} for the preprocessor "
                f"{cmd_name!r}, not a click command"
            )
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [(name, found.get_short_help_str(70)) for name, found in commands.items() if found is not None]
        if rows:
            with formatter.section("Datasets"):
                formatter.write_dl(rows)


prepare_group = PrepareGroup(
    "prepare", {}, help="From a dataset's public release to the folder that its loader reads."
)


@command(
    "check",
    examples=(
        "mast3r data check \"Co3d(split='train', resolution=(512, 384), n_corres=1024)\"",
        "mast3r data check \"MyScenes(ROOT='scenes', resolution=(224, 224))\" --samples 50",
    ),
)
@argument("dataset", shell_complete=complete_dataset, help="A dataset expression, as for --train_dataset.")
@option(
    "--samples",
    type=click.IntRange(min=1),
    default=8,
    metavar="N",
    section="Quality",
    help="Samples per resolution to look at.",
)
@option(
    "--data-root",
    multiple=True,
    metavar="NAME=PATH",
    section="Input",
    help="Folder of a dataset's prepared files; may be repeated.",
)
def check_command(context: CommandContext, dataset: str, samples: int, data_root: tuple[str, ...]) -> None:
    """Check a dataset against the view contract: depth, cameras, points, correspondences, types."""
    from mast3r_train.conformance import check_dataset
    from mast3r_train.datasets.roots import named_roots, parse_named_root
    from mast3r_train.loop.building import build_dataset

    with named_roots(dict(map(parse_named_root, data_root))), context.timed("check"):
        built = build_dataset(dataset)
        report = check_dataset(built, samples=samples)
    context.say(f"{built!r}")
    context.result(
        length=len(built),
        checked=report.checked,
        problems=list(report.problems),
        unreadable=list(report.unreadable),
    )
    for what, texts in (("breaks the contract", report.problems), ("cannot be read", report.unreadable)):
        for text, count in Counter(texts).items():
            context.say(f"{what}: {text}" + (f" ({count} samples)" if count > 1 else ""))
    if report.problems:
        raise InputError(
            f"the dataset breaks the view contract in {len(report.problems)} ways",
            hint="the contract: docs/datasets.md",
        )
    if not report.checked:
        raise InputError("no sample could be made", hint="see the files named above")
    if report.unreadable:
        context.partial(f"{len(report.unreadable)} of the samples looked at cannot be made")
    context.say(f"{report.checked} samples keep the contract")
