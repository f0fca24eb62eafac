"""Commands of packages that may not be installed, so that ``mast3r --help`` can say how to get them.

Source: spec 60 section F1.

This registers nothing: a command that works comes from its package through the hook ``mast3r_commands``.
"""

from __future__ import annotations

from dataclasses import dataclass

from mast3r_model.plugins import CommandSpec, plugin_manager

SECTIONS = ("Match", "Reconstruct", "Localise", "Train", "Evaluate", "Show", "Models and setup")
"""Order of the headings in ``mast3r --help``; a plugin's own headings follow."""


@dataclass(frozen=True)
class MissingCommand:
    """A command of a package that is not installed.

    Args:
        package: what to ``pip install``.
        help: one line.
        section: heading.
    """

    package: str
    help: str
    section: str


KNOWN_COMMANDS = {
    "match": MissingCommand("mast3r-match", "Match two photos, or many pairs.", "Match"),
    "pairs": MissingCommand("mast3r-sfm", "Choose which photos to match.", "Reconstruct"),
    "sfm": MissingCommand("mast3r-sfm", "Photos or video to cameras and geometry.", "Reconstruct"),
    "colmap": MissingCommand("mast3r-sfm", "Matches into a COLMAP database and a mapper.", "Reconstruct"),
    "export": MissingCommand("mast3r-sfm", "Convert a saved scene.", "Reconstruct"),
    "view": MissingCommand("mast3r-sfm", "Look at a saved scene.", "Show"),
    "visloc localize": MissingCommand("mast3r-visloc", "Photo to its pose in a known map.", "Localise"),
    "visloc index": MissingCommand("mast3r-visloc", "Prepare a map for queries.", "Localise"),
    "visloc evaluate": MissingCommand("mast3r-visloc", "Localise a data set's queries.", "Localise"),
    "visloc merge": MissingCommand("mast3r-visloc", "Put shards of an evaluation together.", "Localise"),
    "visloc prepare": MissingCommand("mast3r-visloc", "Bring a data set into our layout.", "Localise"),
    "visloc export": MissingCommand("mast3r-visloc", "Write poses in a benchmark's format.", "Localise"),
    "train": MissingCommand("mast3r-train", "Train a network.", "Train"),
    "pretrain-croco": MissingCommand("mast3r-train", "Pretrain a CroCo backbone.", "Train"),
    "data prepare": MissingCommand("mast3r-train", "Bring a data set into our layout.", "Train"),
    "data list": MissingCommand("mast3r-train", "Data sets known by name.", "Train"),
    "data check": MissingCommand("mast3r-train", "Look for damage in a data set.", "Train"),
    "data pairs": MissingCommand("mast3r-train", "Find pairs in a data set whose release has none.", "Train"),
    "data croco-crops": MissingCommand("mast3r-train", "Cut crops out of photos, for pretraining.", "Train"),
    "data croco-pairs": MissingCommand("mast3r-train", "Render pairs of synthetic views.", "Train"),
    "data sky": MissingCommand("mast3r-train", "Mask the sky of photos.", "Train"),
    "evaluate pairs": MissingCommand("mast3r-match", "Measure matches on pairs of known pose.", "Evaluate"),
    "evaluate scenes": MissingCommand("mast3r-sfm", "Compare cameras and depth with the truth.", "Evaluate"),
    "quickstart": MissingCommand("mast3r-demo", "The first minute: a shipped scene.", "Show"),
    "demo": MissingCommand("mast3r-demo", "The web page.", "Show"),
}


def missing_commands(present: set[str]) -> dict[str, MissingCommand]:
    """Known commands that no plugin gives and whose package is not installed."""
    installed = {plugin.name for plugin in plugin_manager().plugins}
    return {
        name: command
        for name, command in KNOWN_COMMANDS.items()
        if name not in present and command.package not in installed
    }


def section_rank(spec: CommandSpec | MissingCommand) -> int:
    """Where a command's heading stands in the list."""
    return SECTIONS.index(spec.section) if spec.section in SECTIONS else len(SECTIONS)
