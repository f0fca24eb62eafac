"""``mast3r models``: list, describe, fetch, convert and find checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from mast3r_model.plugins import registry

from .cache import is_cached
from .command import command
from .completing import complete_model
from .context import CommandContext
from .options import refuse_existing, work_offline
from .parameters import argument, option

if TYPE_CHECKING:
    from mast3r_model import CheckpointInfo, ModelPreset

_checkpoint = argument("model", shell_complete=complete_model, help="Preset, hub id, folder or file.")
_offline = option("--offline", is_flag=True, help="Download nothing.", section="Model and device")


@command("list", examples=["mast3r models list", "mast3r models list --jsonl"], items="models")
def list_models(context: CommandContext) -> None:
    """Checkpoints known by name: description, licence, and whether they are on this disk."""
    presets = registry("models")
    rows = []
    for name in presets.names():
        preset = cast("ModelPreset", presets[name])
        facts = {**dataclasses.asdict(preset), "state": _state(preset.location)}
        rows.append({"name": name, **facts, "plugin": presets.owner(name)})
    for row in rows:
        context.item(row)
        context.say(f"{row['name']}\n    {row['description']}; {row['licence']}; {row['state']}")
    context.note("next: mast3r models info NAME, or --model NAME with any command")


@command("info", examples=["mast3r models info nano", "mast3r models info checkpoint.pth --json"])
@_checkpoint
@_offline
def info(context: CommandContext, model: str, offline: bool) -> None:
    """What a checkpoint holds: configuration, number of parameters, licence, size."""
    work_offline(offline)
    from mast3r_model import checkpoint_info

    found = checkpoint_info(model)
    context.result(vars(found))
    context.result(config=found.config.to_dict() if found.config else None)
    for name, value in _facts(found):
        context.say(f"{name:<13} {value}")
    for name, value in found.keywords.items():
        context.say(f"  {name} = {value!r}")


@command(
    "download",
    examples=[
        "mast3r models download MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric",
        "mast3r models download naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt",
    ],
)
@argument("model", shell_complete=complete_model, help="Preset or hub id.")
def download(context: CommandContext, model: str) -> None:
    """Fetch a checkpoint from the Hugging Face hub, or a newer version of it; print its folder."""
    from mast3r_model import download as fetch

    with context.timed("download"):
        folder = fetch(model)
    context.result(path=folder)
    context.say(str(folder))
    context.note(f"next: mast3r models info {model}")


@command("path", examples=["mast3r models path nano", 'ls "$(mast3r models path nano)"'])
@_checkpoint
@_offline
def path(context: CommandContext, model: str, offline: bool) -> None:
    """Where a checkpoint lies on this disk; it is downloaded first if need be."""
    work_offline(offline)
    from mast3r_model import local_path

    found = local_path(model)
    context.result(path=found)
    context.say(str(found))


@command(
    "convert",
    examples=[
        "mast3r models convert checkpoint.pth my-model/",
        "mast3r models convert my-model/ my-model.pth",
    ],
)
@argument("source", shell_complete=complete_model, help="Preset, hub id, folder or file.")
@argument("destination", type=click.Path(path_type=Path), help="A folder, or a file ending in .pth.")
@option(
    "--stored-dtype",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    help="Of the stored numbers; fp16 for folders only.",
    section="Output",
)
@option("--overwrite", is_flag=True, help="Replace what is there.", section="Output")
def convert(
    context: CommandContext,
    source: str,
    destination: Path,
    stored_dtype: Literal["fp32", "fp16"],
    overwrite: bool,
) -> None:
    """Rewrite a checkpoint: a .pth file as a folder with config.json and model.safetensors, or back."""
    refuse_existing(destination, overwrite=overwrite)
    from mast3r_model import convert as rewrite

    with context.timed("convert"):
        written = rewrite(source, destination, dtype=stored_dtype)
    context.result(path=written)
    context.say(f"written: {written}")
    context.note(f"next: mast3r models info {written}")


def _facts(found: CheckpointInfo) -> list[tuple[str, str]]:
    facts = [
        ("file", str(found.path)),
        ("size", f"{found.file_bytes / 1e6:,.1f} MB"),
        ("architecture", found.architecture or "unknown"),
        ("parameters", f"{found.parameters:,}"),
        ("tensors", f"{found.keys:,} ({', '.join(found.dtypes)})"),
        ("licence", found.licence or "unknown"),
    ]
    if found.training:
        facts.append(("training", ", ".join(found.training)))
    if found.epoch is not None:
        facts.append(("epoch", str(found.epoch)))
    return facts


def _state(location: str) -> str:
    if Path(location).exists() or is_cached(location):
        return "on this disk"
    return "missing" if Path(location).is_absolute() else "to download"
