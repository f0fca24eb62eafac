"""``python -m mast3r_train.croco``: the command ``mast3r pretrain-croco`` without the umbrella."""

from __future__ import annotations

import sys

from mast3r_train.croco.cli import main

if __name__ == "__main__":
    sys.exit(main())
