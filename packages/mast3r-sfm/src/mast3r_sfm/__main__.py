"""``python -m mast3r_sfm``: the commands of this package alone, as ``... sfm photos/``."""

from __future__ import annotations

import sys

from mast3r_model.cli import CommandGroup, run

from .plugin import mast3r_commands

if __name__ == "__main__":
    group = CommandGroup("mast3r_sfm", mast3r_commands(), help="From photos to cameras and geometry.")
    group.context_settings["auto_envvar_prefix"] = "MAST3R"  # the variables are those of the umbrella
    sys.exit(run(group, program="python -m mast3r_sfm"))
