"""What ``mast3r demo`` does: checks, loads, says where the page is, serves."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mast3r_model.cli import CommandContext

from .server import serve
from .server_options import ServerOptions
from .session import SessionStore

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo

LICENCES = {"nano": "Apache-2.0"}
OFFICIAL_LICENCE = "CC BY-NC-SA 4.0, non-commercial"


def run_demo(context: CommandContext, options: ServerOptions) -> None:
    """Serve until interrupted.

    Raises:
        Mast3rError: the network cannot be loaded (with --preload), the port or the folder is taken.
    """
    options.model.precision()  # a device that is not there is told now, not to the first visitor
    load = functools.partial(_load, context, options, threading.Lock())
    serve(options, load, on_start=functools.partial(say_start, context, options))


def _load(context: CommandContext, options: ServerOptions, lock: threading.Lock) -> AsymmetricCroCo3DStereo:
    with lock:
        return options.model.load(context)


def say_start(context: CommandContext, options: ServerOptions, address: str, store: SessionStore) -> None:
    """The start message: a line each of what a person wants to know."""
    if context.json:
        context.note(f"page: {address}")
    for name, value in start_lines(options, address, store.root).items():
        context.say(f"{name:<8} {value}")
    if warning := exposure_warning(options):
        context.console.out(click.style(warning, fg="red", bold=True) if context.console.color else warning)
    context.note("stop with Ctrl-C")
    context.result(
        address=address,
        workdir=store.root,
        model=options.model.model,
        only_this_machine=options.only_this_machine,
    )


def start_lines(options: ServerOptions, address: str, root: Path) -> dict[str, str]:
    """Model and its licence, device, URL, work folder, limits."""
    limits = options.limits
    precision = options.model.precision()
    kept = "kept at the end" if options.keep else "deleted at the end"
    return {
        "model": f"{options.model.model} ({model_licence(options.model.model)})",
        "device": f"{precision.device}",
        "page": address,
        "folder": f"{root} (sessions unused for {options.keep_hours:g} h go; {kept})",
        "limits": f"{limits.max_photos} photos of {limits.max_file_bytes >> 20} MB and "
        f"{limits.max_pixels / 1e6:g} Mpx, video {limits.max_video_bytes >> 20} MB, "
        f"{limits.max_pairs} pairs, {limits.seconds / 60:g} min a job, {limits.queue_size} waiting",
    }


def model_licence(model: str) -> str:
    """The licence of a network's weights, as far as its name tells."""
    if model in LICENCES:
        return LICENCES[model]
    return OFFICIAL_LICENCE if model.startswith("naver/") else "licence: see where you have it from"


def exposure_warning(options: ServerOptions) -> str | None:
    """What is said in red: others can open the page without a password."""
    if options.only_this_machine or options.auth:
        return None
    where = "the internet" if options.share else f"every machine that reaches {options.host}"
    return f"WARNING: the page is open to {where}, without a password. See --auth."
