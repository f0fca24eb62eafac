"""``mast3r plugins``: what is registered, by whom, and what went wrong."""

from __future__ import annotations

import click

from mast3r_model.errors import PluginError
from mast3r_model.plugins import KINDS, plugin_manager, registry

from .command import command
from .context import CommandContext
from .parameters import argument


@command("plugins", examples=["mast3r plugins", "mast3r plugins losses --json"])
@argument("kind", required=False, type=click.Choice(KINDS), metavar="[KIND]", help=", ".join(KINDS))
def plugins(context: CommandContext, kind: str | None) -> None:
    """What is registered, and by whom; a plugin that does not work is shown with its error."""
    registered: dict[str, dict[str, dict[str, str]]] = {}
    conflicts: list[str] = []
    for each in [kind] if kind else KINDS:
        try:
            found = registry(each)
        except PluginError as error:
            conflicts.append(str(error))
            continue
        registered[each] = {
            name: {"plugin": found.owner(name), "target": _target(found.target(name))}
            for name in found.names()
        }
    # Asked for last: a plugin may fail only when one of its hooks is called.
    loaded = plugin_manager().plugins
    context.result(plugins=loaded, registered=registered, conflicts=conflicts)
    for plugin in loaded:
        failure = f"  {click.style('FAILED', fg='red')}: {plugin.error}" if plugin.error else ""
        context.say(f"{plugin.name} {plugin.version}".rstrip() + failure)
    for each, names in registered.items():
        if names or kind:
            context.say(f"\n{click.style(each, bold=True)}")
            width = max(map(len, names), default=0)
            for name, entry in names.items():
                context.say(f"  {name:<{width}}  {entry['plugin']}")
    for conflict in conflicts:
        context.partial(conflict)


def _target(target: object) -> str:
    if isinstance(target, str):
        return target
    return str(getattr(target, "target", None) or getattr(target, "__qualname__", type(target).__qualname__))
