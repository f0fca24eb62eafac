"""The one kind of command: common options, settings files, help sections, the JSON document."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from .console import Console, color_from_environment, current_console
from .context import CommandContext
from .documents import json_ready, success_document, write_document
from .help import Context, write_examples, write_sections
from .log import set_verbosity
from .parameters import Option
from .settings import (
    PROJECT_SETTINGS_FILE,
    load_defaults,
    settings_with_origins,
    uses_project_settings,
)

COMMON = ("quiet", "verbose", "color", "progress", "log_file", "json", "jsonl", "config", "show_config")
NOT_SETTINGS = frozenset({"config", "show_config", "json", "jsonl", "help", "help_all"})


class Command(click.Command):
    """A click command whose function takes a ``CommandContext`` first.

    Args:
        examples: command lines for the end of the help, as they are typed.
        verbosity: 1 for a long-running command whose log is worth reading without ``-v``.
        items: the field of the result that is a list of many; ``--jsonl`` prints a line for each of them.
    """

    context_class = Context

    def __init__(
        self,
        *positional: Any,
        examples: Sequence[str] = (),
        verbosity: int = 0,
        items: str | None = None,
        **settings: Any,
    ) -> None:
        context_settings = {
            "token_normalize_func": dashed,
            "show_default": True,
            "help_option_names": ["-h", "--help"],
        }
        settings["context_settings"] = {**context_settings, **(settings.get("context_settings") or {})}
        super().__init__(*positional, **settings)
        self.examples = tuple(examples)
        self.verbosity = verbosity
        self.items = items
        taken = {spelling for parameter in self.params for spelling in parameter.opts}
        common = common_options(with_jsonl=items is not None)
        added = [parameter for parameter in common if not taken.intersection(parameter.opts)]
        if any(getattr(parameter, "rare", False) for parameter in self.params):
            added.append(_help_all())
        self.params.extend(added)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if parent is None:
            # Started as `python -m mast3r_x`: the environment variables are those of the umbrella command.
            extra.setdefault("auto_envvar_prefix", f"MAST3R_{variable_name(self.name or '')}")
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if isinstance(ctx.obj, Console):
            ctx.obj.command = " ".join(command_words(ctx))
        if "--show-config" not in map(dashed, args):
            return super().parse_args(ctx, args)
        # The settings can be looked at without giving what the command would work on.
        required = [parameter for parameter in self.params if parameter.required]
        for parameter in required:
            parameter.required = False
        try:
            return super().parse_args(ctx, args)
        finally:
            for parameter in required:
                parameter.required = True

    def invoke(self, ctx: click.Context) -> None:
        if self.callback is None:
            return
        shown = settings_with_origins(ctx, NOT_SETTINGS) if ctx.params["show_config"] else None
        common = {name: ctx.params.pop(name) for name in COMMON if name in ctx.params}
        console = self._console(ctx, common)
        context = CommandContext(" ".join(command_words(ctx)), console, self.items)
        if uses_project_settings(ctx):
            context.note(f"settings: {PROJECT_SETTINGS_FILE} of this folder")
        with contextlib.redirect_stdout(sys.stderr) if console.json else contextlib.nullcontext():
            if shown is not None:
                _show_settings(context, command_words(ctx), shown)
            else:
                with context.timed("total"):
                    ctx.invoke(self.callback, context, **ctx.params)
                context.close()
        if console.json:
            document = success_document(context.command, context.results(), console.warnings, context.timings)
            write_document(document, one_line=console.jsonl)
        if context.exit_code:
            ctx.exit(context.exit_code)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        write_sections(ctx, formatter, rare=bool(ctx.meta.get(_HELP_ALL)))
        write_examples(self.examples, formatter)
        self.format_epilog(ctx, formatter)

    def _console(self, ctx: click.Context, common: dict[str, Any]) -> Console:
        console = current_console()
        console.jsonl = bool(common.get("jsonl"))
        console.json = console.jsonl or bool(common.get("json"))
        console.verbosity = -1 if common.get("quiet") else max(self.verbosity, common.get("verbose") or 0)
        console.tracebacks = bool(common.get("verbose"))
        console.color = ctx.color = color_from_environment(common.get("color") or "auto")
        console.progress = common.get("progress") or "auto"
        set_verbosity(console.verbosity, common.get("log_file"))
        return console


def command(
    name: str,
    *,
    examples: Sequence[str] = (),
    verbosity: int = 0,
    items: str | None = None,
    **settings: Any,
) -> Callable[[Callable[..., object]], Command]:
    """Decorator that makes a function ``(context: CommandContext, **parameters)`` a command.

    Args:
        name: the last word of its name: "match", or "info" for ``mast3r models info``.
        examples: two command lines for the help, as they are typed.
        verbosity: 1 if its INFO log is worth reading without ``-v``.
        items: the field of the result that ``CommandContext.item`` fills, for ``--jsonl``.
        settings: what ``click.Command`` takes.
    """
    return click.command(name, cls=Command, examples=examples, verbosity=verbosity, items=items, **settings)


def common_options(*, with_jsonl: bool = False) -> list[Option]:
    """The options that every command has, and ``--jsonl`` for those about a list of many items."""
    readable = click.Path(exists=True, dir_okay=False, path_type=Path)
    writable = click.Path(dir_okay=False, path_type=Path)
    common: dict[str, Any] = {"section": "Common"}
    lines = Option(
        ["--jsonl"],
        is_flag=True,
        negatable=False,
        help="Print a line of JSON for each item, then the rest as one line.",
        **common,
    )
    return [
        Option(["-q", "--quiet"], is_flag=True, help="Print errors and results only.", **common),
        Option(
            ["-v", "--verbose"], count=True, show_default=False, help="Say more; twice: still more.", **common
        ),
        Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            help="Colour.",
            **common,
        ),
        Option(
            ["--progress"],
            type=click.Choice(["auto", "plain", "none"]),
            default="auto",
            help="Bars on a terminal (auto), a line every 10 s (plain), or none.",
            **common,
        ),
        Option(["--log-file"], type=writable, help="Append the log to this file.", **common),
        Option(
            ["--json"],
            is_flag=True,
            negatable=False,
            help="Print one JSON document and nothing else.",
            **common,
        ),
        *([lines] if with_jsonl else []),
        Option(
            ["--config"],
            type=readable,
            is_eager=True,
            callback=_load_settings,
            help="TOML file of settings, a table per command, beside mast3r.toml of this folder.",
            **common,
        ),
        Option(
            ["--show-config"],
            is_flag=True,
            negatable=False,
            help="Print all values and where each came from, and stop.",
            **common,
        ),
    ]


def command_words(ctx: click.Context) -> list[str]:
    """The command's name without the program's: ``["models", "info"]``."""
    words: list[str] = []
    current: click.Context | None = ctx
    while current is not None and (current.parent is not None or not words):
        words.insert(0, (current.info_name if current.parent is not None else current.command.name) or "")
        current = current.parent
    return words


def dashed(token: str) -> str:
    """Options and command names may be written with underscores."""
    return token.replace("_", "-")


def variable_name(words: str) -> str:
    """A command's name as part of an environment variable."""
    return words.upper().replace("-", "_").replace(" ", "_")


_HELP_ALL = "mast3r_model.cli.help_all"


def _help_all() -> Option:
    def show(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            ctx.meta[_HELP_ALL] = True
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()

    return Option(
        ["--help-all"],
        is_flag=True,
        negatable=False,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show rarely used options too.",
        section="Common",
    )


def _load_settings(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if not ctx.resilient_parsing:
        load_defaults(ctx, command_words(ctx), value)
    return value


def _show_settings(
    context: CommandContext, words: Sequence[str], settings: dict[str, tuple[object, str]]
) -> None:
    table = {name: json_ready(value) for name, (value, _) in settings.items() if value is not None}
    nested: dict[str, object] = table
    for word in reversed(words):
        nested = {word: nested}
    context.result(settings=nested, origins={name: origin for name, (_, origin) in settings.items()})
    width = max(map(len, settings), default=0)
    for name, (value, origin) in settings.items():
        context.say(f"{name:<{width}}  {'-' if value is None else json_ready(value)!s:<24}  {origin}")
