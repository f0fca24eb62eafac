"""Commands that can run in several processes: started by themselves or by torchrun, with one voice."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from mast3r_model import Mast3rError
from mast3r_model.cli import Command, CommandContext

if TYPE_CHECKING:
    from mast3r_train.loop.ranks import Ranks

_WORDS = "mast3r_train.process_cli.words"


class ProcessCommand(Command):
    """A command that knows its words, for the processes that it may start.

    Its errors of usage are told once a machine.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = tuple(args)
        with told_once_a_machine():
            return super().parse_args(ctx, args)


@contextmanager
def told_once_a_machine() -> Iterator[None]:
    """Before the processes have met: an error of their common words is told by the first of each machine."""
    try:
        yield
    except (Mast3rError, click.UsageError) as error:
        if os.environ.get("RANK", "0") == "0" or os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise click.exceptions.Exit(error.exit_code) from None


def runs_elsewhere(context: CommandContext, nproc_per_node: str | None, *, module: str) -> bool:
    """Run this very command in several processes, if ``--nproc-per-node`` asks for it.

    Args:
        module: ``python -m module`` is this command.

    Returns:
        Whether it did: all is said then, and the exit code is set.
    """
    from mast3r_train.loop.launching import launch, process_count

    count = process_count(nproc_per_node)
    if count == 1:
        return False
    words = click.get_current_context().meta[_WORDS]
    code = launch(module, words, count)
    context.console.json = False  # rank 0 has written the document
    context.exit_code = code
    return True


@contextmanager
def process_group(context: CommandContext, device: str) -> Iterator[Ranks]:
    """Inside the block, the processes of a launcher work together, and only one of them speaks.

    Args:
        device: what the user asked to train on.
    """
    from mast3r_train.loop.distributed import joined_ranks
    from mast3r_train.loop.failures import ToldElsewhereError, leave_after_main, one_voice

    with joined_ranks(device) as ranks:
        if not ranks.is_main:
            _be_quiet(context)
        try:
            with one_voice(ranks):
                yield ranks
        except ToldElsewhereError as silent:
            raise click.exceptions.Exit(silent.exit_code) from None
        except KeyboardInterrupt:
            if ranks.is_main:
                raise
            raise click.exceptions.Exit(130) from None
        leave_after_main(ranks)


def _be_quiet(context: CommandContext) -> None:
    """Leave notes, bars, logs and the document to rank 0."""
    context.console.json = False
    context.console.verbosity = -1
    context.console.progress = "none"
    logging.getLogger("mast3r").setLevel(logging.ERROR)
