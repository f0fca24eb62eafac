"""The look of ``--help``: sections of options, defaults, examples; never wrapped below 80 columns."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import click

from .parameters import LAST_SECTIONS, Argument

MIN_WIDTH, MAX_WIDTH = 80, 100


class HelpFormatter(click.HelpFormatter):
    """Click's formatter with bold headings and a width that does not get unreadable."""

    def __init__(self) -> None:
        columns = shutil.get_terminal_size((MAX_WIDTH, 24)).columns
        super().__init__(width=min(max(columns, MIN_WIDTH), MAX_WIDTH) - 2)

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{click.style(heading, bold=True)}:\n")


class Context(click.Context):
    """Click's context, with our formatter."""

    def make_formatter(self) -> click.HelpFormatter:
        return HelpFormatter()


def write_sections(context: click.Context, formatter: click.HelpFormatter, *, rare: bool) -> None:
    """All arguments and options under their headings; the rare ones only if asked for."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in context.command.get_params(context):
        record = _record(parameter, context)
        if record is not None and (rare or not getattr(parameter, "rare", False)):
            heading = getattr(parameter, "section", "Common" if _is_help(parameter) else "Options")
            sections.setdefault(heading, []).append(record)
    own = [heading for heading in sections if heading not in LAST_SECTIONS]
    for heading in [*own, *(heading for heading in LAST_SECTIONS if heading in sections)]:
        with formatter.section(heading):
            formatter.write_dl(sections[heading])


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    """The examples as they are typed, unwrapped."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def _record(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    if isinstance(parameter, Argument):
        return (parameter.make_metavar(context), parameter.description) if parameter.description else None
    return None if isinstance(parameter, click.Argument) else parameter.get_help_record(context)


def _is_help(parameter: click.Parameter) -> bool:
    return "--help" in parameter.opts
