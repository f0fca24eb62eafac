"""The program ``mast3r``: a group of all registered commands that imports each only when it is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from mast3r_model.errors import Mast3rError, PluginError
from mast3r_model.plugins import CommandSpec, registry, resolve_import_string, suggestion

from .catalog import MissingCommand, missing_commands, section_rank
from .command import dashed
from .console import Console
from .documents import versions
from .help import Context
from .run import run

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Entry = CommandSpec | MissingCommand

DESCRIPTION = """MASt3R: from photos to matches, geometry and poses.

Every command has --help with examples. The built-in small checkpoint needs no download."""


class CommandGroup(click.Group):
    """A group over names of one or two words; the first word of two is a group of its own."""

    context_class = Context

    def __init__(self, name: str, entries: Mapping[str, Entry] | None = None, **settings: Any) -> None:
        context_settings = {
            "token_normalize_func": dashed,
            "help_option_names": ["-h", "--help"],
            "auto_envvar_prefix": None,
        }
        super().__init__(name, context_settings=context_settings, **settings)
        self._entries = entries

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Every command by its full name below this group."""
        if self._entries is None:
            self._entries = all_commands()
        return self._entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({name.partition(" ")[0] for name in self.entries})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        below = {
            name.partition(" ")[2]: entry
            for name, entry in self.entries.items()
            if name.startswith(f"{cmd_name} ")
        }
        if below:
            return CommandGroup(cmd_name, below, help=_summary(below), short_help=_summary(below))
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        full_name = f"{ctx.command_path} {cmd_name}"
        return _load(full_name, entry) if isinstance(entry, CommandSpec) else _missing(full_name, entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing:
            self._check_name(ctx, name)
            if isinstance(ctx.obj, Console):
                ctx.obj.command = f"{ctx.obj.command} {dashed(name)}".strip()
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in sorted(self.entries.items(), key=lambda item: (section_rank(item[1]), item[0])):
            sections.setdefault(entry.section, []).append(_row(name, entry))
        width = max((len(name) for name in self.entries), default=0)
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names with their one line of help; nothing is imported for it."""
        from click.shell_completion import CompletionItem

        help_of = {name: entry.help for name, entry in self.entries.items()}
        return [
            CompletionItem(name, help=help_of.get(name))
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ] + click.Command.shell_complete(self, ctx, incomplete)

    def _check_name(self, ctx: click.Context, name: str) -> None:
        words = self.list_commands(ctx)
        if name in words or dashed(name) in words:
            return
        hint = suggestion(name, words)
        message = f"no command {name!r} in {ctx.command_path}" + (f", {hint}" if hint else "")
        raise click.UsageError(message, ctx)


def all_commands() -> dict[str, Entry]:
    """Registered commands, and the known ones whose package is missing.

    Raises:
        PluginError: two plugins give one name, or a plugin gives something else than a ``CommandSpec``.
    """
    commands = registry("commands")
    entries: dict[str, Entry] = {}
    for name in commands.names():
        spec = commands[name]
        if not isinstance(spec, CommandSpec):
            owner = commands.owner(name)
            kind = type(spec).__name__
            raise PluginError(f"plugin {owner!r} gives a {kind} for {name!r}, not a CommandSpec")
        entries[name] = spec
    return {**entries, **missing_commands(set(entries))}


def root() -> click.Group:
    """The command group of the program."""
    group = CommandGroup("mast3r", help=DESCRIPTION)
    group.context_settings["auto_envvar_prefix"] = "MAST3R"
    group.params.append(_version_option())
    return group


def main() -> None:
    """Entry point of the program ``mast3r``."""
    sys.exit(run(root()))


def _load(full_name: str, spec: CommandSpec) -> click.Command:
    try:
        loaded = resolve_import_string(spec.target)
    except Mast3rError:
        raise
    except Exception as error:
        raise PluginError(
            f"`{full_name}` cannot be loaded: {type(error).__name__}: {error}",
            "reinstall the package that the message names",
        ) from error
    if not isinstance(loaded, click.Command):
        raise PluginError(f"`{full_name}`: {spec.target} is a {type(loaded).__name__}, not a click command")
    return loaded


def _missing(full_name: str, entry: MissingCommand) -> click.Command:
    def explain(**ignored: object) -> None:
        raise PluginError(
            f"`{full_name}` is part of {entry.package}, which is not installed",
            f"pip install {entry.package}",
        )

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(
        full_name, callback=explain, help=entry.help, context_settings=anything, add_help_option=False
    )


def _row(name: str, entry: Entry) -> tuple[str, str]:
    if isinstance(entry, CommandSpec):
        return name, entry.help
    return name, click.style(f"{entry.help} (pip install {entry.package})", dim=True)


def _summary(below: Mapping[str, Entry]) -> str:
    return "One of: " + ", ".join(sorted(below)) + "."


def _version_option() -> click.Option:
    def show(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            for name, number in versions().items():
                click.echo(f"{name} {number}")
            ctx.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show the versions of the installed packages and stop.",
    )
