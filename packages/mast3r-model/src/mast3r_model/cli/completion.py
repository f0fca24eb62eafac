"""``mast3r completion bash|zsh|fish``: the script that makes the shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .command import command
from .context import CommandContext
from .parameters import argument
from .root import root

SHELLS = ("bash", "zsh", "fish")


@command(
    "completion",
    examples=["mast3r completion zsh > ~/.zfunc/_mast3r", 'eval "$(mast3r completion bash)"'],
)
@argument("shell", type=click.Choice(SHELLS), help="bash, zsh or fish.")
def completion(context: CommandContext, shell: str) -> None:
    """Print a shell's completion script."""
    completer = get_completion_class(shell)
    assert completer is not None
    # click's own `source()` for bash would start bash only to learn its version.
    instance = completer(root(), {}, "mast3r", "_MAST3R_COMPLETE")
    script = completer.source_template % instance.source_vars()
    context.result(shell=shell, script=script)
    context.say(script.rstrip("\n"))
