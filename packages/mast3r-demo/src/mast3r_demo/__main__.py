"""``python -m mast3r_demo``: the same as ``mast3r demo``."""

from __future__ import annotations

import sys

from mast3r_model.cli import run

from .cli import demo

if __name__ == "__main__":
    sys.exit(run(demo, program="python -m mast3r_demo"))
