"""``python -m mast3r_model``: the same as ``mast3r``."""

from .cli import main

if __name__ == "__main__":
    main()
