"""``python -m mast3r_train``: the command ``mast3r train`` without the umbrella."""

from __future__ import annotations

import sys

from mast3r_train.cli import main

if __name__ == "__main__":
    sys.exit(main())
