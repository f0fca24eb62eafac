"""Options and arguments that know under which heading of the help they stand."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., object])


class Decorator(Protocol):
    """Takes a function and returns it, with a parameter added."""

    def __call__(self, function: Function, /) -> Function: ...


LAST_SECTIONS = ("Output", "Model and device", "Common")


class Option(click.Option):
    """A click option with a heading; a flag ``--x`` can also be given as ``--no-x``, against a settings file.

    Args:
        section: the heading in ``--help``: "Input", "Pairs", "Quality", "Output", or the command's own.
        rare: show it only under ``--help-all``.
        negatable: whether a flag has the ``--no-x``.
    """

    def __init__(
        self,
        declarations: Sequence[str],
        *positional: Any,
        section: str = "Options",
        rare: bool = False,
        negatable: bool = True,
        **settings: Any,
    ) -> None:
        if negatable and settings.get("is_flag"):
            declarations = [_with_opposite(declaration) for declaration in declarations]
        super().__init__(declarations, *positional, **settings)
        self.section = section
        self.rare = rare
        # Click's own name, "integer range", is no word for what was expected.
        if type(self.type) is click.IntRange:
            self.type.name = "integer"
        elif type(self.type) is click.FloatRange:
            self.type.name = "number"

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """``MAST3R_<COMMAND>_<OPTION>`` goes before a variable that several commands share."""
        if ctx.auto_envvar_prefix is not None and self.name and self.allow_from_autoenv:
            own = os.environ.get(f"{ctx.auto_envvar_prefix}_{self.name.upper()}")
            if own:
                return own
        return super().resolve_envvar_value(ctx)


def _with_opposite(declaration: str) -> str:
    """``--x`` as click's ``--x/--no-x``; short spellings, names and pairs stay as they are."""
    plain = declaration.startswith("--") and "/" not in declaration
    return f"{declaration}/--no-{declaration.removeprefix('--')}" if plain else declaration


class Argument(click.Argument):
    """A click argument with a description and a heading."""

    def __init__(
        self, *declarations: Any, description: str = "", section: str = "Input", **settings: Any
    ) -> None:
        super().__init__(*declarations, **settings)
        self.description = description
        self.section = section


def option(*declarations: str, section: str = "Options", rare: bool = False, **settings: Any) -> Decorator:
    """``click.option`` with a heading; the default is always shown in the help."""
    return click.option(*declarations, cls=Option, section=section, rare=rare, **settings)


def argument(*declarations: str, help: str = "", section: str = "Input", **settings: Any) -> Decorator:
    """``click.argument`` with a line of help."""
    return click.argument(*declarations, cls=Argument, description=help, section=section, **settings)


def with_flags(
    flags: Sequence[Callable[..., Any]],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command many arguments and options at once, in the order of the list.

    Args:
        flags: what `argument`, `option` and their like return.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for flag in reversed(flags):
            function = flag(function)
        return function

    return decorate
