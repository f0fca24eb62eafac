"""The command ``mast3r train``: every field of :class:`TrainConfig` is a flag (spec 40 section 10)."""

from __future__ import annotations

import dataclasses
import signal
import typing
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mast3r_model.cli import (
    CommandContext,
    complete_dataset,
    complete_model,
    complete_names,
    option,
    run,
)
from mast3r_train.config import TrainConfig, base_type
from mast3r_train.process_cli import ProcessCommand, process_group, runs_elsewhere, told_once_a_machine

if TYPE_CHECKING:
    from mast3r_train.croco.config import PretrainConfig
    from mast3r_train.loop.epoch import ProgressReport
    from mast3r_train.loop.interruption import StopRequest
    from mast3r_train.loop.training import TrainingResult

EXAMPLES = (
    "mast3r train --recipe nano.toml --output-dir runs/nano",
    "mast3r train --recipe nano.toml --batch-size 4 --dry-run",
    "mast3r train --recipe nano.toml --nproc-per-node gpu",
)

EPILOG = """The output folder holds checkpoint-last.pth, -best.pth and -final.pth, log.txt, steps.jsonl,
curves.png and TensorBoard events. The same command again goes on from checkpoint-last.pth, also after a
kill."""

_COMPLETERS = {
    "train_dataset": complete_dataset,
    "test_dataset": complete_dataset,
    "train_criterion": complete_names("losses", written=lambda name: (f"{name}(",)),
    "test_criterion": complete_names("losses", written=lambda name: (f"{name}(",)),
    "pretrained": complete_model,
}
"""What the shell offers, by field."""

_MORE_NAMES = {"pretrained": ("--init",), "output_dir": ("-o", "--output")}


def _sentence(text: str) -> str:
    """A field's description as the help of all commands is written."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith(('.', ')')) else '.'}"


def settings_options(settings: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add one option per field of a dataclass of settings, in the fields' order.

    Args:
        settings: its fields have ``help``, ``section``, ``rare`` and ``metavar`` in their metadata.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = typing.get_type_hints(settings)
        for field in reversed(dataclasses.fields(settings)):
            function = _option(field, hints[field.name])(function)
        return function

    return decorate


def _option(field: dataclasses.Field[Any], annotation: Any) -> Any:
    kind = base_type(annotation)
    settings: dict[str, Any] = {key: field.metadata[key] for key in ("section", "rare")}
    settings["help"] = _sentence(field.metadata["help"])
    if kind is bool:
        settings["is_flag"] = True
    else:
        choices = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else None
        settings["type"] = click.Choice(choices) if choices else kind
        settings["metavar"] = field.metadata["metavar"]
        settings["multiple"] = typing.get_origin(annotation) is tuple
    if field.name in _COMPLETERS:
        settings["shell_complete"] = _COMPLETERS[field.name]
    default = None if field.default == "" else field.default
    names = (*_MORE_NAMES.get(field.name, ()), f"--{field.name.replace('_', '-')}")
    return option(field.name, *names, default=default, **settings)


@click.command("train", cls=ProcessCommand, examples=EXAMPLES, epilog=EPILOG, verbosity=1)
@option(
    "--recipe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    section="Data",
    help="TOML file with values for these flags, or with several stages; what is given here wins.",
)
@settings_options(TrainConfig)
def train_command(context: CommandContext, recipe: Path | None, **flags: Any) -> None:
    """Train a network from expressions that name the data, the model and the loss, or from a recipe file."""
    from mast3r_train.loop.recipe import read_recipe, stages_of, train_stages

    parsed = click.get_current_context()
    given = {
        name: value
        for name, value in flags.items()
        if parsed.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    with told_once_a_machine():
        values = read_recipe(recipe) if recipe is not None else {}
        stages = stages_of(values, given, source=str(recipe or "the command line"))
    run_and_report(
        context,
        stages[0].config,
        partial(train_stages, stages),
        module="mast3r_train",
        then="mast3r match A.jpg B.jpg --model {}",
    )


def run_and_report(
    context: CommandContext,
    config: TrainConfig | PretrainConfig,
    work: Callable[..., TrainingResult],
    *,
    module: str,
    then: str,
) -> None:
    """Train in this process or in those that the settings ask for; with bars, signals and last words.

    Args:
        config: says how many processes, on which device, for how long.
        work: trains; gets ``stop`` and ``on_step``, as :func:`mast3r_train.train`.
        module: ``python -m module`` is this command.
        then: the next command, with ``{}`` for the checkpoint of a completed run.
    """
    from mast3r_train.loop.interruption import StopRequest, stop_on_signals

    if runs_elsewhere(context, config.nproc_per_node, module=module):
        return
    stop = StopRequest.after_minutes(config.max_minutes)
    with stop_on_signals(stop), process_group(context, config.device) as ranks:
        with EpochBars(context) as bars:
            result = work(stop=stop, on_step=bars.step)
        _report(context, result, stop, then=then, speaks=ranks.is_main)


class EpochBars:
    """The epoch or test in progress: a moving bar on a terminal, a line every 10 s with ``--progress plain``.

    Elsewhere the log lines are enough.
    """

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._epoch = ExitStack()
        self._advance: Callable[[int], None] | None = None

    def __enter__(self) -> EpochBars:
        return self

    def __exit__(self, *error: object) -> None:
        self._epoch.close()

    def step(self, report: ProgressReport) -> None:
        """Move the bar by one micro-step, or one batch of a test."""
        console = self._context.console
        if not console.bars() and console.progress != "plain":
            return
        if self._advance is None:
            bar = self._context.progress(report.title, report.steps - report.step)
            self._advance = self._epoch.enter_context(bar)
        self._advance(1)
        if report.step + 1 == report.steps:
            self._epoch.close()
            self._advance = None


def _report(
    context: CommandContext, result: TrainingResult, stop: StopRequest, *, then: str, speaks: bool
) -> None:
    """Say how a run ended, and set the exit code if a signal ended it.

    Args:
        then: the next command, with ``{}`` for the checkpoint of a completed run.
        speaks: False on processes that leave the words to another.
    """
    context.result(dataclasses.asdict(result))
    if stop.signal_number is not None and not result.completed:
        context.exit_code = 128 + signal.Signals(stop.signal_number)
    if not speaks:
        return
    seen = f"{result.pairs_seen:,} pairs in {result.hours:.2f} h"
    if result.checkpoint is None:
        context.say(f"dry run: everything works ({seen})")
    elif result.completed:
        context.say(f"done, {seen}: {result.checkpoint}")
        context.note(f"next: {then.format(result.checkpoint)}")
    else:
        context.say(f"stopped, {seen}: {result.checkpoint}")
        context.note("the same command goes on from there")


def main() -> int:
    """``python -m mast3r_train``; returns the exit code."""
    return run(train_command, program="python -m mast3r_train")
