"""What ``mast3r visloc prepare`` does: flags as a request of `mast3r_visloc.preparing` (spec 50 D8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mast3r_model.cli import CommandContext, ModelOptions
from mast3r_visloc.preparing import PreparationRequest
from mast3r_visloc.preparing.command import PrepareNetwork, run_prepare


def run_prepare_command(
    context: CommandContext, flags: Mapping[str, Any], model_options: ModelOptions
) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    own = {name: value for name, value in flags.items() if name not in ("retrieval", "topk")}
    network = PrepareNetwork(lambda: model_options.load(context), flags["retrieval"], flags["topk"])
    run_prepare(context, PreparationRequest(**own), network)
