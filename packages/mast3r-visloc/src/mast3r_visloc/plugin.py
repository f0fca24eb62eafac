"""What mast3r-visloc registers, through the same hooks as anybody's plugin."""

from __future__ import annotations
