"""What the shell offers for options that take a registered name (spec 60 F2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def complete_names(
    kind: str,
    *,
    listed: bool = False,
    files: bool = False,
    written: Callable[[str], Sequence[str]] = lambda name: (name,),
) -> Completer:
    """A completer of the names of a plugin kind; it imports none of the plugins' modules.

    Args:
        kind: such as "exporters"; see ``mast3r_model.KINDS``.
        listed: the value is a list of names, separated by commas.
        files: the value may be a file instead.
        written: a name as values hold it, for instance with an open bracket.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from mast3r_model.plugins import registry

        names = [text for name in registry(kind).names() for text in written(name)]
        return _matching(names, incomplete, listed=listed, files=files)

    return complete


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of presets, or a file."""
    return complete_names("models", files=True)(ctx, param, incomplete)


def complete_dataset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The beginning of a dataset expression."""
    return complete_names("datasets", written=lambda name: (f"{name}(",))(ctx, param, incomplete)


def _matching(
    names: Sequence[str], incomplete: str, *, listed: bool = False, files: bool = False
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    before, comma, last = incomplete.rpartition(",") if listed else ("", "", incomplete)
    given = before.split(",")
    found = [
        CompletionItem(f"{before}{comma}{name}")
        for name in names
        if name.startswith(last) and name not in given
    ]
    return found or ([CompletionItem(incomplete, type="file")] if files else [])
