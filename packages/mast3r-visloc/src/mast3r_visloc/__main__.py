"""``python -m mast3r_visloc``: the same commands as ``mast3r visloc``."""

from __future__ import annotations

import sys

import click

from mast3r_model.cli import run

from .cli import evaluate, export, index, localize, merge, prepare

if __name__ == "__main__":
    commands: dict[str, click.Command] = {
        str(command.name): command for command in (localize, index, evaluate, merge, prepare, export)
    }
    group = click.Group("visloc", commands, help="Where was this photo taken?")
    sys.exit(run(group, program="python -m mast3r_visloc"))
