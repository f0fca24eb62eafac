"""A command: ``mast3r hello``."""

from __future__ import annotations

from mast3r_model.cli import CommandContext, argument, command, option


@command("hello", examples=["mast3r hello", "mast3r hello Ada --times 2 --json"])
@argument("name", default="world", help="Whom to greet.")
@option("--times", default=1, help="How often.")
def hello(context: CommandContext, name: str, times: int) -> None:
    """Greet somebody."""
    for _ in context.track(range(times), "greeting"):
        context.say(f"hello {name}")
    context.result(name=name, times=times)
