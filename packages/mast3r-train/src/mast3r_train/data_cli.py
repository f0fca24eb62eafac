"""``mast3r data prepare``: the registered preprocessors as one group of commands."""

from __future__ import annotations

import click

from mast3r_model import PluginError, registry
from mast3r_model.cli import CommandGroup


class PrepareGroup(CommandGroup):
    """A command for each name of the plugin kind ``preprocessors``, imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(registry("preprocessors").names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = registry("preprocessors")
        if cmd_name not in known:
            return None
        found = known[cmd_name]
        if not isinstance(found, click.Command):
            raise PluginError(
                f"plugin {known.owner(cmd_name)!r} gives a {type(found).__name__} for the preprocessor "
                f"{cmd_name!r}, not a click command"
            )
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Datasets"):
            formatter.write_dl([(name, "") for name in self.list_commands(ctx)])


prepare_group = PrepareGroup(
    "prepare", {}, help="From a dataset's public release to the folder that its loader reads."
)
