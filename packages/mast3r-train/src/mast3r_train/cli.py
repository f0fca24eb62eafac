"""The command ``mast3r train``: every field of :class:`TrainConfig` is a flag (spec 40 section 10)."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mast3r_model import Mast3rError
from mast3r_train.config import TrainConfig, base_type

EPILOG = """\b
Examples:
  mast3r train --recipe recipes/nano.toml --output_dir runs/nano
  mast3r train --train_dataset "10_000 @ SyntheticScenes(resolution=(160, 128), n_corres=1024)" \\
      --model "AsymmetricMASt3R(pos_embed='RoPE100', ...)" --batch_size 8 --epochs 10 --amp bf16

The output folder holds checkpoint-last.pth, -best.pth and -final.pth, log.txt, steps.jsonl, curves.png and
TensorBoard events. The same command again goes on from checkpoint-last.pth."""


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add one option per field of TrainConfig, in the fields' order."""
    hints = typing.get_type_hints(TrainConfig)
    for field in reversed(dataclasses.fields(TrainConfig)):
        command = _option(field, hints[field.name])(command)
    return command


def _option(
    field: dataclasses.Field[Any], annotation: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    dashed, spelled = f"--{field.name.replace('_', '-')}", f"--{field.name}"
    names = [dashed] if dashed == spelled else [dashed, spelled]
    kind = base_type(annotation)
    common: dict[str, Any] = {"help": field.metadata["help"], "default": None}
    if field.name == "pretrained":
        names.append("--init")
    if kind is bool:
        return click.option(*names, field.name, is_flag=True, **common)
    if kind is tuple:
        return click.option(*names, field.name, multiple=True, metavar=field.metadata["metavar"], **common)
    if typing.get_origin(annotation) is typing.Literal:
        return click.option(*names, field.name, type=click.Choice(typing.get_args(annotation)), **common)
    default = "" if field.default in (None, "") else f" [default: {field.default}]"
    common["help"] += default
    return click.option(*names, field.name, type=kind, metavar=field.metadata["metavar"], **common)


@click.command("train", epilog=EPILOG, context_settings={"max_content_width": 100})
@click.option(
    "--recipe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with values for these flags, or with several stages; flags given here win.",
)
@_with_settings
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout at the end.")
def train_command(recipe: Path | None, as_json: bool, **flags: Any) -> None:
    """Train a network from expressions that name the data, the model and the loss, or from a recipe file."""
    from mast3r_train.loop.interruption import StopRequest, stop_on_signals
    from mast3r_train.loop.recipe import read_recipe, stages_of, train_stages

    context = click.get_current_context()
    given = {
        name: value
        for name, value in flags.items()
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    values = read_recipe(recipe) if recipe is not None else {}
    stages = stages_of(values, given, source=str(recipe or "the command line"))
    stop = StopRequest.after_minutes(stages[0].config.max_minutes)
    with stop_on_signals(stop):
        result = train_stages(stages, stop=stop)
    if as_json:
        document = {
            "schema": "mast3r.train/1",
            "ok": True,
            "result": {
                "completed": result.completed,
                "checkpoint": None if result.checkpoint is None else str(result.checkpoint),
                "pairs_seen": result.pairs_seen,
                "hours": round(result.hours, 4),
            },
        }
        click.echo(json.dumps(document))
    else:
        click.echo(_summary(result.completed, result.checkpoint, result.pairs_seen, result.hours))
    if stop.signal_number is not None and not result.completed:
        context.exit(128 + signal.Signals(stop.signal_number))


def _summary(completed: bool, checkpoint: Path | None, pairs_seen: int, hours: float) -> str:
    seen = f"{pairs_seen:,} pairs in {hours:.2f} h"
    if checkpoint is None:
        return f"dry run: everything works ({seen})"
    if completed:
        return f"done, {seen}: {checkpoint}\nnext: mast3r match A.jpg B.jpg --model {checkpoint}"
    return f"stopped, {seen}: {checkpoint}\nthe same command goes on from there"


def main() -> None:
    """``python -m mast3r_train``: the command with logging and errors as ``mast3r`` has them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        train_command(prog_name="python -m mast3r_train")
    except Mast3rError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        raise SystemExit(error.exit_code) from None
