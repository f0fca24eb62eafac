"""``python -m mast3r_match``: the same as ``mast3r match``."""

from __future__ import annotations

import sys

from mast3r_model.cli import run

from .cli import match

if __name__ == "__main__":
    sys.exit(run(match, program="python -m mast3r_match"))
