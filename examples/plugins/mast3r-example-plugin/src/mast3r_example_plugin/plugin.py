"""What this package registers. Imports nothing heavy: ``mast3r --help`` reads this file."""

from __future__ import annotations

from collections.abc import Mapping

from mast3r_model import CommandSpec, hookimpl


@hookimpl
def mast3r_heads() -> Mapping[str, str]:
    return {"token-mlp": "mast3r_example_plugin.heads:token_mlp_heads"}


@hookimpl
def mast3r_datasets() -> Mapping[str, str]:
    return {"SlidingWall": "mast3r_example_plugin.datasets:SlidingWall"}


@hookimpl
def mast3r_transforms() -> Mapping[str, str]:
    return {"RandomGray": "mast3r_example_plugin.transforms:RandomGray"}


@hookimpl
def mast3r_losses() -> Mapping[str, str]:
    return {"Huber": "mast3r_example_plugin.losses:Huber"}


@hookimpl
def mast3r_pnp_solvers() -> Mapping[str, str]:
    return {"linear": "mast3r_example_plugin.pnp:solve_linear"}


@hookimpl
def mast3r_commands() -> Mapping[str, CommandSpec]:
    return {"hello": CommandSpec("mast3r_example_plugin.cli:hello", "Greet somebody.", "Examples")}
