"""What mast3r-demo registers, through the same hooks as anybody's plugin."""

from __future__ import annotations

from collections.abc import Mapping

from mast3r_model import CommandSpec, hookimpl


@hookimpl
def mast3r_commands() -> Mapping[str, CommandSpec]:
    return {
        "demo": CommandSpec("mast3r_demo.cli:demo", "The web page: photos to 3D in the browser.", "Show"),
        "quickstart": CommandSpec(
            "mast3r_demo.quickstart.cli:quickstart", "The first minute: a shipped scene.", "Show"
        ),
    }
